//! One connection, HTTP/1.1 or HTTP/2, from its first byte to its last, with TLS or without.

use std::convert::Infallible;
use std::error::Error;
use std::iter;
use std::pin::pin;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;
use weir_limits::client::Client;

use super::outgoing::Outgoing;
use super::pace::{Pace, Paced};
use super::watcher::{Limits, Verdict, Watcher};
use crate::http::{Answered, Service};

/// State that all connections share.
pub(super) struct Shared {
    pub(super) service: Service,
    pub(super) protocol: Builder<TokioExecutor>,
    pub(super) limits: Limits,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As connections do.
    Usual,
    /// The server ended it, because of what its client had done.
    ForViolation,
}

/// Serves `stream` of `client` until its peer closes it, until it is too slow, idle for too long or
/// too old, or until the requests in flight are finished after `draining` becomes true.
pub(super) async fn drive(
    shared: &Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Client,
    mut draining: watch::Receiver<bool>,
) -> Ended {
    let connections = &shared.service.app().metrics.connections;
    connections.increment(1.0);
    let pace = Arc::new(Pace::default());
    let io = Paced::new(TokioIo::new(stream), pace.clone());
    let answer = service_fn(|request| {
        let mut call = Pace::call(&pace, request.version());
        let shared = shared.clone();
        async move {
            let answered = shared.service.answer(request, client).await;
            let Answered { response, charge, in_flight, of_tenant } = answered;
            call.counts([in_flight, of_tenant]);
            Ok::<_, Infallible>(response.map(|body| Outgoing::new(body, charge, call)))
        }
    });
    let mut connection = pin!(shared.protocol.serve_connection(io, answer));
    let mut watcher = Watcher::new(shared.limits, Instant::now());
    let mut ticks = interval_at(Instant::now() + watcher.period(), watcher.period());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut closing = false;
    let mut how = Ended::Usual;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection ended");
                    if is_violation(&*error) {
                        how = Ended::ForViolation;
                    }
                }
                break;
            }
            _ = draining.wait_for(|draining| *draining), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = ticks.tick() => match watcher.judge(Instant::now(), &pace) {
                Verdict::Keep => {}
                // A request that arrives right now is still answered.
                Verdict::Idle | Verdict::Old if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Old => {}
                verdict => {
                    debug!(?verdict, "connection closed");
                    break;
                }
            },
        }
    }
    connections.decrement(1.0);
    how
}

/// Whether a connection ended because its client broke the protocol, or what the server allows of it, such
/// as beginning streams only to reset them.
fn is_violation(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |&error| error.source()).any(|error| {
        let of_http_2 = error.downcast_ref::<h2::Error>();
        let of_http_1 = error.downcast_ref::<hyper::Error>();
        of_http_2.is_some_and(|error| error.is_go_away() && error.is_library())
            || of_http_1.is_some_and(hyper::Error::is_parse)
    })
}
