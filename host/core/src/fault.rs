//! Faults that only the test build has: most are mistakes that the checker of `tests/cases/exactness`
//! must find, which proves that it would find them in earnest.
//!
//! Without the feature `faults`, [`is`] is a constant, and nothing of a fault is in the program.
//! With it, the environment variable `WEIR_FAULT` names the fault that the process has. Out of
//! scope: what a fault does, which is where its [`Fault`] is named.

/// A mistake that can be made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A page of the catch-up, which is short, has its documents as they are at the head of the log.
    PageReadsNewest,
    /// Each page that changes documents begins an epoch of keyword statistics.
    RollByBatch,
    /// Tags move after readers see the change.
    TagMovedLate,
    /// Positions are published before their snapshot.
    SnapshotAfterPosition,
    /// A hit has the text and the metadata of the newest view instead of the run's: they are fetched
    /// after the search, and it takes a while.
    HitTextOfAnotherVersion,
    /// The truth forgets lines that a collection has not applied, and they are skipped.
    TrimmedTooEarly,
    /// An answer from the cache states what is heard instead of what is applied.
    HitStatesHead,
    /// Nobody checks whether anything has changed since an answer of the shared tier was made.
    PromotionUnchecked,
    /// A run over collections without a common position is not done again.
    NeverRestarts,
    /// The host panics when a run has ended. This is no wrong answer: it is for those who wait for it.
    FlightPanics,
}

/// Whether the process has this fault.
#[cfg(not(feature = "faults"))]
#[inline]
#[must_use]
pub const fn is(_: Fault) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use chosen::is;

#[cfg(feature = "faults")]
mod chosen {
    use std::env;
    use std::sync::LazyLock;

    use super::Fault;

    const NAMES: [(&str, Fault); 10] = [
        ("page-reads-newest", Fault::PageReadsNewest),
        ("roll-by-batch", Fault::RollByBatch),
        ("tag-moved-late", Fault::TagMovedLate),
        ("snapshot-after-position", Fault::SnapshotAfterPosition),
        ("hit-text-of-another-version", Fault::HitTextOfAnotherVersion),
        ("trimmed-too-early", Fault::TrimmedTooEarly),
        ("hit-states-head", Fault::HitStatesHead),
        ("promotion-unchecked", Fault::PromotionUnchecked),
        ("never-restarts", Fault::NeverRestarts),
        ("flight-panics", Fault::FlightPanics),
    ];

    static CHOSEN: LazyLock<Option<Fault>> = LazyLock::new(choose);

    /// Whether the process has this fault. Ends the process if `WEIR_FAULT` names none.
    #[must_use]
    pub fn is(fault: Fault) -> bool {
        *CHOSEN == Some(fault)
    }

    fn choose() -> Option<Fault> {
        let wanted = env::var_os("WEIR_FAULT")?;
        let found = NAMES.iter().find(|(name, _)| wanted == *name);
        let Some((_, fault)) = found else {
            let names = NAMES.map(|(name, _)| name).join(", ");
            eprintln!("WEIR_FAULT is {}; the faults are {names}", wanted.display());
            std::process::exit(2);
        };
        Some(*fault)
    }
}
