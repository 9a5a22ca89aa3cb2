//! Reads a segment ahead of the clock, on a thread of its own, so that neither the disk nor parsing makes an
//! operation late.
//!
//! Each operation is charged to a budget until it has ended. If the server is so slow that the budget is
//! spent, reading waits, operations are late, and the replay is void: it says so, rather than take all
//! memory.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::segment::{Due, Segment};
use crate::traffic::threads::on_own_thread;

/// What operations that are read, due or in flight may take. One more line is in memory.
const BUDGET_BYTES: usize = 128 << 20;
/// What an operation takes besides its request.
const OVERHEAD_BYTES: usize = 4 << 10;
/// How many operations are read ahead.
const AHEAD: usize = 1024;

/// An operation that has been read.
pub(super) struct Fed {
    pub(super) due: Due,
    /// Its part of the budget.
    pub(super) charge: OwnedSemaphorePermit,
}

/// Begins to read a segment.
pub(super) fn feed(segment: Segment) -> Result<Receiver<Result<Fed>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let budget = Arc::new(Semaphore::new(BUDGET_BYTES));
    // What it returns is not needed: errors go through the channel.
    on_own_thread("trace", move || async move {
        for due in segment.operations()? {
            let fed = match due {
                Ok(due) => {
                    let bytes = u32::try_from(due.operation.request.len() + OVERHEAD_BYTES)?;
                    Ok(Fed { charge: Arc::clone(&budget).acquire_many_owned(bytes).await?, due })
                }
                Err(error) => Err(error),
            };
            if sender.send(fed).await.is_err() {
                break;
            }
        }
        Ok(())
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_in_flight_is_bounded_and_errors_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace.ndjson");
        let text = "a".repeat(15 << 20);
        let line = format!("{{\"t_ms\":1,\"op\":\"query\",\"body\":{{\"q\":\"{text}\"}}}}\n");
        std::fs::write(&trace, format!("{}x\n", line.repeat(9))).unwrap();
        let mut feed = feed(Segment::new(&trace, 0.0, None, 1.0).unwrap()).unwrap();
        let mut in_flight = Vec::new();
        for _ in 0..8 {
            in_flight.push(feed.recv().await.unwrap().unwrap());
        }
        // The ninth is read, but there is no room for it until another has ended.
        let early = tokio::time::timeout(Duration::from_millis(50), feed.recv()).await;
        assert!(early.is_err());
        in_flight.pop();
        in_flight.push(feed.recv().await.unwrap().unwrap());
        let error = feed.recv().await.unwrap().err().unwrap();
        assert!(format!("{error:#}").contains("trace.ndjson:10"), "{error:#}");
        assert!(feed.recv().await.is_none());
    }
}
