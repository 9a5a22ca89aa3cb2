//! Finds out what became of the writes that were under way when the server ended.
//!
//! Positions have no gaps, so a gap below a later write is a commit whose answer was lost. Writes
//! of documents are sent again, and answer with their position. What remains has no
//! `Idempotency-Key` and is one at most; only where the collection is gone as well, writes to it
//! can stay open.

use std::collections::BTreeSet;

use super::log::Entry;
use super::oracle::Change;
use super::tally::{Kind, add};
use super::world::World;
use super::writers::{Ended, Writer, keyless};
use crate::harness::Client;

/// Completes the log up to a new commit, which creates the collection `marker`, and creates the
/// collections of the run that do not exist.
pub(super) async fn resolve(world: &World, client: &Client, writers: &mut [Writer], marker: &str) {
    let unanswered = world.keyless.lock().await.take();
    let mut lost = Vec::new();
    for writer in writers {
        let Some(put) = writer.unanswered.take() else { continue };
        match writer.send(world, client, &put).await {
            Ended::Done => add(&world.tally.resolved),
            Ended::Nothing => lost.push(put.entry),
            Ended::Unknown => panic!("the server is gone again"),
        }
    }
    let mut absent = BTreeSet::new();
    for collection in &world.collections {
        let status = client.get(&format!("/v1/collections/{collection}")).await.status;
        if status == 404 {
            absent.insert(collection.clone());
        }
    }
    create(world, client, marker).await;
    let end = world.ledger.log().keys().max().copied().unwrap_or(0);
    assign(world, world.ledger.gaps(end), unanswered, lost, &absent);
    for collection in &absent {
        create(world, client, collection).await;
    }
}

async fn create(world: &World, client: &Client, collection: &str) {
    let request = client.request("PUT", &format!("/v1/collections/{collection}"));
    let ended = keyless(world, request, collection, Change::Create, &mut None).await;
    assert_eq!(ended, Ended::Done, "creating '{collection}'");
}

/// Gives the positions of the gaps to the writes that must have them.
fn assign(
    world: &World,
    mut gaps: Vec<u64>,
    unanswered: Option<Entry>,
    lost: Vec<Entry>,
    absent: &BTreeSet<String>,
) {
    if let Some(entry) = unanswered {
        let is_absent = absent.contains(&entry.collection);
        let committed = match entry.change {
            Change::Drop => is_absent,
            Change::Create => !is_absent,
            _ => !gaps.is_empty(),
        };
        // After a drop nothing can be written, and before a creation neither.
        match gaps.pop_if(|_| committed) {
            Some(gap) => {
                add(&world.tally.resolved);
                world.ledger.resolved(gap, entry);
            }
            None if committed => {
                let text = format!("there is no position for what was committed: {entry:?}");
                world.tally.violation(Kind::Log, text);
            }
            None => {}
        }
    }
    if gaps.len() > lost.len() {
        // The check reports the gaps.
        return;
    }
    let certain = gaps.len() == lost.len() && lost.len() == 1;
    for (gap, mut entry) in gaps.into_iter().zip(lost) {
        if !certain {
            entry.change = Change::Unknown;
        }
        world.ledger.resolved(gap, entry);
    }
}
