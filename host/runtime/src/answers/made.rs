//! What the outcome of a run was made from: what decides for how long it is true.

use weir_cache::reads::ReadSet;
use weir_cache::tag::Reads;
use weir_core::Commit;

/// What an outcome was made from.
#[derive(Debug)]
pub(super) struct Made {
    /// The commit that it is exact at.
    pub(super) as_of: Commit,
    pub(super) reads: ReadSet,
    /// The cells of the tags of `reads`.
    pub(super) cells: Reads,
}
