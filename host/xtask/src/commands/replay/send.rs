//! Sends the operations of a segment when they are due, whatever became of earlier ones.
//!
//! Each query goes out by itself. Writes go out one after the other, as those of one author do, so that the
//! documents at the end are those that the trace implies; a write that has to wait for an earlier one is late
//! from when it was due, like any other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::mpsc::{self, Receiver, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::feed::Fed;
use super::line::Kind;
use super::tally::{Ended, Tally};
use crate::traffic::clients::{Clients, PATIENCE};
use crate::traffic::schedule::{self, Clock, Real};

/// Where operations come from. The server tells clients by their addresses, and one of them may not have all of
/// its connections and runs.
const FROM: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
];
/// How long a writer waits. It has documents embedded, and is asked to wait until they are searchable.
const PATIENCE_OF_WRITERS: Duration = Duration::from_secs(60);

/// What became of what was sent.
pub(super) struct Sent {
    pub(super) tally: Tally,
    /// Whether it was stopped before the segment ended.
    pub(super) is_stopped: bool,
    /// How long it took, until the last answer.
    pub(super) took: Duration,
}

/// Sends what is fed until there is no more or `stop` comes, and waits for what is in flight then. `ended`
/// is how many operations have.
pub(super) async fn send(
    server: SocketAddr,
    feed: Receiver<Result<Fed>>,
    stop: oneshot::Receiver<()>,
    ended: Arc<AtomicU64>,
) -> Result<Sent> {
    let clock = Real::start();
    let sender =
        Sender { clients: Clients::new(server, &FROM), clock, tally: Mutex::default(), ended };
    let sender = Arc::new(sender);
    let (lane, writes) = mpsc::unbounded_channel();
    let mut running = JoinSet::new();
    running.spawn(Arc::clone(&sender).write_all(writes));
    let is_stopped = open_loop(&clock, feed, stop, |fed, from| {
        if fed.due.operation.kind == Kind::Query {
            running.spawn(Arc::clone(&sender).query(fed, from));
            // Those that have ended would take memory.
            while let Some(ended) = running.try_join_next() {
                ended??;
            }
        } else {
            let late = clock.now().saturating_sub(from);
            // Bounded, because each has a part of the feed's budget. The lane ends with the sender.
            let _ = lane.send(Write { fed, from, late });
        }
        Ok(())
    })
    .await?;
    drop(lane);
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let mut tally = sender.tally.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Sent { tally: std::mem::take(&mut tally), is_stopped, took: clock.now() })
}

/// Calls `begin` for each operation when it is due, with the time that its latency counts from. Returns
/// whether it was stopped.
async fn open_loop(
    clock: &impl Clock,
    mut feed: Receiver<Result<Fed>>,
    mut stop: oneshot::Receiver<()>,
    mut begin: impl FnMut(Fed, Duration) -> Result<()>,
) -> Result<bool> {
    loop {
        let next = async {
            let Some(fed) = feed.recv().await.transpose()? else { return Ok(None) };
            let from = schedule::wait(clock, fed.due.due).await;
            anyhow::Ok(Some((fed, from)))
        };
        // What is dropped by a stop is not sent any more.
        let next = tokio::select! {
            biased;
            _ = &mut stop => return Ok(true),
            next = next => next?,
        };
        let Some((fed, from)) = next else { return Ok(false) };
        begin(fed, from)?;
    }
}

/// A write that is due, and how late it was begun.
struct Write {
    fed: Fed,
    from: Duration,
    late: Duration,
}

struct Sender {
    clients: Clients,
    clock: Real,
    tally: Mutex<Tally>,
    ended: Arc<AtomicU64>,
}

impl Sender {
    async fn query(self: Arc<Self>, fed: Fed, from: Duration) -> Result<()> {
        let late = self.clock.now().saturating_sub(from);
        self.ask(fed, from, late, PATIENCE).await
    }

    async fn write_all(self: Arc<Self>, mut writes: UnboundedReceiver<Write>) -> Result<()> {
        while let Some(Write { fed, from, late }) = writes.recv().await {
            self.ask(fed, from, late, PATIENCE_OF_WRITERS).await?;
        }
        Ok(())
    }

    async fn ask(&self, fed: Fed, from: Duration, late: Duration, most: Duration) -> Result<()> {
        let operation = &fed.due.operation;
        let patience = (from + most).saturating_sub(self.clock.now());
        let outcome = self.clients.ask(&operation.request, patience).await;
        let time = self.clock.now().saturating_sub(from);
        let ended = Ended { kind: operation.kind, late, time, outcome };
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(&ended)?;
        self.ended.fetch_add(1, Ordering::Relaxed);
        // Only now is there room for another one.
        drop(fed.charge);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use tokio::sync::Semaphore;

    use super::*;
    use crate::commands::replay::line::Operation;
    use crate::commands::replay::segment::Due;
    use crate::traffic::schedule::fake::Fake;

    /// Operations that are due at these milliseconds.
    async fn fed(due_ms: &[u64]) -> Receiver<Result<Fed>> {
        let (sender, receiver) = mpsc::channel(due_ms.len().max(1));
        let budget = Arc::new(Semaphore::new(due_ms.len()));
        for due_ms in due_ms {
            let operation = Operation { kind: Kind::Query, request: "".into() };
            let due = Due { due: Duration::from_millis(*due_ms), operation };
            let charge = Arc::clone(&budget).acquire_owned().await.unwrap();
            sender.send(Ok(Fed { due, charge })).await.unwrap();
        }
        receiver
    }

    #[tokio::test]
    async fn operations_begin_when_they_are_due_and_late_ones_count_from_then() {
        let (clock, mut begun) = (Fake::default(), Vec::new());
        let (_go_on, stop) = oneshot::channel();
        let is_stopped =
            open_loop(&clock, fed(&[0, 10, 20, 30, 30, 100]).await, stop, |fed, from| {
                begun.push([fed.due.due, from, clock.now()].map(|time| time.as_millis()));
                if begun.len() == 2 {
                    // The generator stands still until 35 ms, of which a millisecond is the timers' slack.
                    clock.pass(Duration::from_millis(25));
                }
                Ok(())
            });
        assert!(!is_stopped.await.unwrap());
        let expected =
            [[0, 0, 0], [10, 10, 10], [20, 21, 35], [30, 31, 35], [30, 31, 35], [100, 100, 100]];
        assert_eq!(begun, expected);
    }

    #[tokio::test]
    async fn a_stop_ends_it_before_the_next_operation() {
        let (stopper, stop) = oneshot::channel();
        let (clock, mut stopper, mut begun) = (Fake::default(), Some(stopper), 0);
        let is_stopped = open_loop(&clock, fed(&[0, 5, 9]).await, stop, |_, _| {
            begun += 1;
            if begun == 2 {
                stopper.take().unwrap().send(()).unwrap();
            }
            Ok(())
        });
        assert!(is_stopped.await.unwrap());
        assert_eq!(begun, 2);
    }

    #[tokio::test]
    async fn an_error_of_the_trace_ends_it() {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(Err(anyhow::anyhow!("t:3: malformed"))).await.unwrap();
        let (_go_on, stop) = oneshot::channel();
        let error = open_loop(&Fake::default(), receiver, stop, |_, _| Ok(())).await.unwrap_err();
        assert_eq!(error.to_string(), "t:3: malformed");
    }
}
