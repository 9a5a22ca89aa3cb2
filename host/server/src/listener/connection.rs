//! One connection, HTTP/1.1 or HTTP/2, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::poll;
use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use super::outgoing::Outgoing;
use super::pace::{Pace, Paced};
use super::watcher::{Limits, Verdict, Watcher};
use crate::client::Client;
use crate::http::{Answered, Service};

/// State that all connections share.
pub(super) struct Shared {
    pub(super) service: Service,
    pub(super) protocol: Builder<TokioExecutor>,
    pub(super) limits: Limits,
}

/// Serves `stream` of `client` until its peer closes it, until it is too slow, idle for too long or
/// too old, or until the requests in flight are finished after `draining` becomes true.
pub(super) async fn drive(
    shared: &Arc<Shared>,
    stream: TcpStream,
    client: Client,
    mut draining: watch::Receiver<bool>,
) {
    let connections = &shared.service.app().metrics.connections;
    connections.increment(1.0);
    let pace = Arc::new(Pace::default());
    let io = Paced::new(TokioIo::new(stream), pace.clone());
    let turns = Arc::new(Semaphore::new(1));
    let answer = service_fn(|request| {
        let mut call = Pace::call(&pace, request.version());
        let shared = shared.clone();
        let turns = (request.version() == Version::HTTP_2).then(|| turns.clone());
        async move {
            let answered = in_turn(turns, || shared.service.answer(request, client)).await;
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
}

/// Begins a call when its turn has come. Over HTTP/2 a client can send hundreds of requests at once, and
/// each is a task. One of a connection begins at a time, so that those of other connections are not behind
/// all of them, and so that one that is reset before has cost little. What waits lets the next begin.
async fn in_turn<C: Future>(turns: Option<Arc<Semaphore>>, call: impl FnOnce() -> C) -> C::Output {
    // Made here, since copying it costs more than most of what it does.
    let mut call = pin!(call());
    if let Some(turns) = turns {
        // An error would say that the turns are closed, which they never are.
        let turn = turns.acquire().await;
        let begun = poll!(call.as_mut());
        drop(turn);
        if let Poll::Ready(answer) = begun {
            return answer;
        }
    }
    call.await
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn calls_begin_in_turn_and_wait_together() {
        let turns = Arc::new(Semaphore::new(1));
        let begun = Cell::new(0);
        let call = || {
            in_turn(Some(turns.clone()), || async {
                begun.set(begun.get() + 1);
                pending::<()>().await;
            })
        };
        let other = turns.acquire().await.unwrap();
        let (mut first, mut second, mut dropped) = (pin!(call()), pin!(call()), Box::pin(call()));
        assert!(poll!(&mut dropped).is_pending() && poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        assert_eq!(begun.get(), 0, "another call is beginning");
        drop(dropped);
        drop(other);
        assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
        // Both wait, and the one that was dropped has not begun.
        assert_eq!((begun.get(), turns.available_permits()), (2, 1));
    }
}
