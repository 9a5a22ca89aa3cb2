//! Which commits belong to the truth's history.
//!
//! What is kept outside the process may have been made from a history that this truth has left: it
//! was restored from a copy, and has gone on from there with commits of the same numbers. Their
//! chain values tell.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use weir_core::{Chain, Commit, Position};
use weir_store::{Past, Truth};

/// How many chain values are remembered.
const REMEMBERED: usize = 4_096;

/// The history of a tenant's truth.
pub struct History {
    truth: Arc<dyn Truth>,
    /// A chain value of the history never changes.
    known: Mutex<HashMap<Position, Chain>>,
}

impl History {
    pub(super) fn new(truth: Arc<dyn Truth>) -> Self {
        Self { truth, known: Mutex::default() }
    }

    /// Whether the truth has made this commit. `false` also if it no longer knows, or fails.
    pub async fn contains(&self, commit: Commit) -> bool {
        let remembered = self.known.lock().get(&commit.position).copied();
        let chain = match remembered {
            Some(chain) => Some(chain),
            None => match self.truth.history(commit.position).await {
                Ok(Past::Known(chain)) => {
                    let mut known = self.known.lock();
                    if known.len() >= REMEMBERED {
                        known.clear();
                    }
                    known.insert(commit.position, chain);
                    Some(chain)
                }
                Ok(Past::Forgotten | Past::NotYet) | Err(_) => None,
            },
        };
        chain == Some(commit.chain)
    }
}
