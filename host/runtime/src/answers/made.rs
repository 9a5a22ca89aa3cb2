//! What the outcome of a run was made from: what decides for how long it is true, and which policies could store
//! it.

use std::sync::Arc;
use std::time::Duration;

use weir_cache::reads::ReadSet;
use weir_cache::tag::Reads;
use weir_core::Commit;

use super::StoredEntry;
use crate::pipeline::Run;
use crate::request::PartsRead;

/// What an outcome was made from.
#[derive(Debug)]
pub(super) struct Made {
    /// The commit that it is exact at.
    pub(super) as_of: Commit,
    pub(super) reads: ReadSet,
    /// The cells of the tags of `reads`.
    pub(super) cells: Reads,
    /// The parts of the request that were read; `None` if another process has made it.
    pub(super) parts: Option<Arc<PartsRead>>,
    /// Whether a host call was unavailable, timed out or failed.
    pub(super) degraded: bool,
    /// How long it took.
    pub(super) compute: Duration,
}

impl Made {
    /// What a run has made its outcome from, if that has one position. `cells` are those of its reads.
    pub(super) fn of(run: &Run, cells: impl FnOnce(&ReadSet) -> Reads) -> Option<Arc<Self>> {
        let as_of = run.stated.at()?;
        Some(Arc::new(Self {
            as_of,
            cells: cells(&run.reads),
            reads: run.reads.clone(),
            parts: Some(Arc::clone(&run.parts)),
            degraded: run.degraded,
            compute: run.compute,
        }))
    }
}

/// Where it is known what an answer was made from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// In its entry.
    Entry(StoredEntry),
    /// From the run.
    Made(Arc<Made>),
    /// Nowhere, or nobody wants to know.
    Unknown,
}
