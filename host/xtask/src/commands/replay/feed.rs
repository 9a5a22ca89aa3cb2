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
    within(segment, Arc::new(Semaphore::new(BUDGET_BYTES)))
}

fn within(segment: Segment, budget: Arc<Semaphore>) -> Result<Receiver<Result<Fed>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
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

    use super::*;

    #[tokio::test]
    async fn what_is_in_flight_has_its_part_of_the_budget_and_errors_arrive() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace.ndjson");
        let line = "{\"t_ms\":1,\"op\":\"query\",\"body\":{}}\n";
        std::fs::write(&trace, format!("{}x\n", line.repeat(3))).unwrap();
        let segment = Segment::new(&trace, 0.0, None, 1.0).unwrap();
        let first = segment.operations().unwrap().next().unwrap().unwrap();
        let one = first.operation.request.len() + OVERHEAD_BYTES;
        // Enough for two operations, but not for three.
        let budget = Arc::new(Semaphore::new(2 * one + 1));
        let mut feed = within(segment, Arc::clone(&budget)).unwrap();
        let in_flight = [feed.recv().await.unwrap(), feed.recv().await.unwrap()];
        for fed in &in_flight {
            assert_eq!(fed.as_ref().unwrap().charge.num_permits(), one);
        }
        feed.try_recv().err().unwrap();
        drop(in_flight);
        drop(feed.recv().await.unwrap().unwrap());
        let error = feed.recv().await.unwrap().err().unwrap();
        assert!(format!("{error:#}").contains("trace.ndjson:4"), "{error:#}");
        assert!(feed.recv().await.is_none());
        assert_eq!(budget.available_permits(), 2 * one + 1);
    }
}
