//! How far the catch-up has got, for whoever watches the server. Out of scope: what a probe makes of it.

use weir_core::Position;
use weir_core::name::Name;

/// How far the engine has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpStatus {
    /// The last position of which all collections are searchable.
    pub applied: Position,
    /// The collections that lag, by name.
    pub lagging: Vec<Lagging>,
    /// Whether an index is rebuilt that is still older than answers which were given before.
    pub rebuilding: bool,
    /// The index for the next model, which is prepared, if there is one.
    pub next: Option<NextIndex>,
    /// Why the catch-up of what answers is stalled, if it is.
    pub last_error: Option<String>,
}

/// How far the index for the next model is prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextIndex {
    /// The name of the model.
    pub model: String,
    /// The last position of which it has all collections.
    pub applied: Position,
    /// How many collections it does not have up to their last change.
    pub lagging: usize,
    /// Whether the change to the model is committed: until this index has applied it, nothing that
    /// was written since becomes searchable.
    pub is_committed: bool,
    /// Why it is stalled, if it is.
    pub last_error: Option<String>,
}

impl CatchUpStatus {
    /// How many positions the slowest collection lags behind its last change.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let lag = |one: &Lagging| one.target.0.saturating_sub(one.applied.0);
        self.lagging.iter().map(lag).max().unwrap_or(0)
    }
}

/// A collection that lags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lagging {
    /// The collection.
    pub collection: Name,
    /// Everything up to this position is searchable.
    pub applied: Position,
    /// The position of its last change.
    pub target: Position,
}
