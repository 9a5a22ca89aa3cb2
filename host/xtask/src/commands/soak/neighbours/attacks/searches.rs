//! Searches: honest ones, and ones that ask for as much work as a filter can.
//!
//! A filter bomb hurts if a search that looks at much metadata is not bounded, or holds a thread
//! that others need.

use anyhow::Result;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::{bombs, texts, world};

const CLIENTS: usize = 8;
/// How many searches a guest makes in one request, one after the other.
const SEARCHES: u64 = 10;

pub(super) async fn honest(target: Target) -> Result<()> {
    target
        .crowd(CLIENTS, async |target| {
            target.post("pipelines/search", &texts::new_question(world::BAD)).await;
        })
        .await
}

pub(super) async fn filter_bomb(target: Target) -> Result<()> {
    target
        .crowd(CLIENTS, async |target| target.post("pipelines/search", &bombs::question()).await)
        .await
}

pub(super) async fn guest_filter_bomb(target: Target) -> Result<()> {
    target
        .crowd(CLIENTS, async |target| {
            target.post("pipelines/attacks", &bombs::from_a_guest(SEARCHES)).await;
        })
        .await
}
