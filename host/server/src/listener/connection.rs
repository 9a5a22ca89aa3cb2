//! One connection, HTTP/1.1 or HTTP/2, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use super::pace::{self, Pace, Paced, Verdict};
use crate::http::Service;

/// State that all connections share.
pub(super) struct Shared {
    pub(super) service: Service,
    pub(super) protocol: Builder<TokioExecutor>,
    pub(super) pace: pace::Limits,
}

/// Serves `stream` until its peer closes it, until it is too slow or idle for too long, or
/// until the requests in flight are finished after `draining` becomes true.
pub(super) async fn drive(
    shared: &Arc<Shared>,
    stream: TcpStream,
    mut draining: watch::Receiver<bool>,
) {
    let connections = &shared.service.app().metrics.connections;
    connections.increment(1.0);
    let pace = Arc::new(Pace::default());
    let io = Paced::new(TokioIo::new(stream), pace.clone());
    let answer = service_fn(|request| {
        let call = Pace::call(&pace, request.version());
        let shared = shared.clone();
        async move {
            let response = shared.service.answer(request).await;
            drop(call);
            Ok::<_, Infallible>(response)
        }
    });
    let mut connection = pin!(shared.protocol.serve_connection(io, answer));
    let mut watcher = pace::Watcher::new(shared.pace, Instant::now());
    let mut ticks = interval_at(Instant::now() + watcher.period(), watcher.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended");
                }
                break;
            }
            _ = draining.wait_for(|draining| *draining), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = ticks.tick() => match watcher.judge(Instant::now(), pace.snapshot()) {
                Verdict::Keep => {}
                // A request that arrives right now is still answered.
                Verdict::Idle if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                verdict @ (Verdict::Idle | Verdict::SlowHead) => {
                    debug!(?verdict, "connection closed");
                    break;
                }
            },
        }
    }
    connections.decrement(1.0);
}
