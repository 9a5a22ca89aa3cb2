//! Points at which a test build can be made to die, as a kill would make it: what a crash at any of
//! them leaves behind must be enough to go on from.
//!
//! Without the feature `faults`, [`at`] is empty, and nothing of it is in the program. With it, the
//! environment variable `WEIR_CRASH_AT` names a [`Point`], or one and how often it is passed first:
//! `after-page:3`. Nothing is flushed and no destructor runs. Out of scope: a loss of power, which
//! can also undo what was written but not flushed.

/// A place in the way of a write, or of what follows from it, or of a plugin that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Everything of a write is in its transaction.
    BeforeCommit,
    /// A write is durable, and nobody knows.
    AfterCommit,
    /// A page is in the index's transaction.
    BeforePage,
    /// A page is durable in the index, and no tag has moved.
    AfterPage,
    /// The tags of a page have moved, and readers do not see it.
    AfterTags,
    /// Readers see a page.
    AfterPublish,
    /// The statistics of an epoch are in the truth's transaction.
    BeforeStatistics,
    /// The statistics of an epoch are kept.
    AfterStatistics,
    /// That the index is complete is in its transaction.
    BeforeComplete,
    /// The index is complete durably, and the truth forgets nothing yet.
    AfterComplete,
    /// The beginning of the history has moved in the truth's transaction.
    BeforeTrim,
    /// The beginning of the history has moved, and what is before it is there.
    AfterTrim,
    /// Some of the history is deleted in the truth's transaction.
    BeforeForgetting,
    /// Some of the history is deleted.
    AfterForgetting,
    /// The mark of a document that is set aside is in the truth's transaction.
    BeforeMark,
    /// The mark is durable, and the document is not indexed.
    AfterMark,
    /// The change of the model is in the truth's transaction.
    BeforeModelChange,
    /// The change of the model is durable, and the index of the new one has not applied it.
    AfterModelChange,
    /// The index of the new model has applied the change, and the old one answers.
    BeforeTakeover,
    /// The index of the new model answers, from the file of a next one.
    AfterTakeover,
    /// The file of the old model is removed, and that of the new one is not in its place.
    BeforePromotion,
    /// The file of the new model is in its place.
    AfterPromotion,
    /// The file of a plugin is there under a temporary name, and empty.
    PluginCreated,
    /// The file of a plugin is durable under a temporary name.
    PluginWritten,
    /// The file of a plugin is under its own name, and that is not durable.
    PluginRenamed,
    /// The file of a plugin is stored durably, and nobody knows.
    PluginStored,
    /// The file of a plugin is removed, and that is not durable.
    PluginRemoved,
    /// Everything of a write of the system store is in its transaction.
    BeforeSystemCommit,
    /// A write of the system store is durable, and nobody knows.
    AfterSystemCommit,
}

/// Ends the process if it is to crash here.
#[cfg(not(feature = "faults"))]
#[inline]
pub const fn at(_: Point) {}

/// Whether a text cannot be embedded.
#[cfg(not(feature = "faults"))]
#[inline]
#[must_use]
pub const fn refuses(_: &str) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use chosen::{at, refuses};

#[cfg(feature = "faults")]
mod chosen {
    use std::env;
    use std::process::{abort, exit};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Point;

    const NAMES: [(&str, Point); 29] = [
        ("before-commit", Point::BeforeCommit),
        ("after-commit", Point::AfterCommit),
        ("before-page", Point::BeforePage),
        ("after-page", Point::AfterPage),
        ("after-tags", Point::AfterTags),
        ("after-publish", Point::AfterPublish),
        ("before-statistics", Point::BeforeStatistics),
        ("after-statistics", Point::AfterStatistics),
        ("before-complete", Point::BeforeComplete),
        ("after-complete", Point::AfterComplete),
        ("before-trim", Point::BeforeTrim),
        ("after-trim", Point::AfterTrim),
        ("before-forgetting", Point::BeforeForgetting),
        ("after-forgetting", Point::AfterForgetting),
        ("before-mark", Point::BeforeMark),
        ("after-mark", Point::AfterMark),
        ("before-model-change", Point::BeforeModelChange),
        ("after-model-change", Point::AfterModelChange),
        ("before-takeover", Point::BeforeTakeover),
        ("after-takeover", Point::AfterTakeover),
        ("before-promotion", Point::BeforePromotion),
        ("after-promotion", Point::AfterPromotion),
        ("plugin-created", Point::PluginCreated),
        ("plugin-written", Point::PluginWritten),
        ("plugin-renamed", Point::PluginRenamed),
        ("plugin-stored", Point::PluginStored),
        ("plugin-removed", Point::PluginRemoved),
        ("before-system-commit", Point::BeforeSystemCommit),
        ("after-system-commit", Point::AfterSystemCommit),
    ];
    /// What a text has that cannot be embedded, if the process is to crash at its mark.
    const REFUSED: &str = "unembeddable";

    /// The point, and how often it is passed first.
    static CHOSEN: LazyLock<Option<(Point, u64)>> = LazyLock::new(choose);
    static PASSED: AtomicU64 = AtomicU64::new(0);

    /// Ends the process if it is to crash here, or if `WEIR_CRASH_AT` names no point.
    pub fn at(point: Point) {
        if let Some((chosen, passed)) = *CHOSEN
            && chosen == point
            && PASSED.fetch_add(1, Ordering::SeqCst) >= passed
        {
            abort();
        }
    }

    /// Whether a text cannot be embedded: only a process that crashes at a mark has such texts.
    #[must_use]
    pub fn refuses(text: &str) -> bool {
        matches!(*CHOSEN, Some((Point::BeforeMark | Point::AfterMark, _))) && text.contains(REFUSED)
    }

    fn choose() -> Option<(Point, u64)> {
        let wanted = env::var("WEIR_CRASH_AT").ok()?;
        let (name, passed) = wanted.split_once(':').unwrap_or((&wanted, "0"));
        let point = NAMES.iter().find(|(of, _)| name == *of);
        let (Some((_, point)), Ok(passed)) = (point, passed.parse()) else {
            let names = NAMES.map(|(name, _)| name).join(", ");
            eprintln!("WEIR_CRASH_AT is {wanted}; the points are {names}");
            exit(2);
        };
        Some((*point, passed))
    }
}
