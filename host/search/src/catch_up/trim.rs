//! Makes the truth forget the part of its history that every collection has applied.
//!
//! Readers read snapshots, and the catch-up reads the log from where each collection is, so
//! nothing needs a version that ended before that. The statistics of the epochs at the new
//! beginning are kept first: an index that is rebuilt from there cannot compute them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use weir_core::crash::{self, Point};
use weir_core::fault::{self, Fault};
use weir_core::name::Name;
use weir_core::{Commit, Position};
use weir_store::KeptStatistics;

use super::{CatchUpError, Shared, stop};

/// Trims from time to time until it is stopped: what `current` has applied, and the index of the
/// next model too, if there is one.
pub(super) async fn run(
    current: Arc<Shared>,
    next: Option<Arc<Shared>>,
    mut stopped: watch::Receiver<bool>,
) {
    let every = current.settings.trim_every;
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trimmer = Trimmer { current, next, kept: HashMap::new(), trimmed: Commit::ZERO };
    loop {
        tokio::select! {
            biased;
            () = stop(&mut stopped) => return,
            _ = ticks.tick() => {}
        }
        // Nothing in it is lost if a stop cancels it: the truth's writes are detached.
        let trimmed = tokio::select! {
            biased;
            () = stop(&mut stopped) => return,
            trimmed = trimmer.trim() => trimmed,
        };
        if let Err(error) = trimmed {
            tracing::warn!(%error, "the history of the documents cannot be trimmed");
        }
    }
}

struct Trimmer {
    current: Arc<Shared>,
    next: Option<Arc<Shared>>,
    /// The last epoch of each collection whose statistics are kept.
    kept: HashMap<Name, Position>,
    trimmed: Commit,
}

impl Trimmer {
    async fn trim(&mut self) -> Result<(), CatchUpError> {
        let shared = Arc::clone(&self.current);
        let view = shared.progress.view();
        let mut completed = match fault::is(Fault::TrimmedTooEarly) {
            true => view.heard(),
            false => view.completed(),
        };
        let mut required = view.required();
        if let Some(next) = &self.next {
            let view = next.progress.view();
            completed = completed.min(view.completed());
            required = required.max(view.required());
        }
        // An index that is rebuilt is not complete before it is as far as it was: see `reconcile`.
        if completed <= self.trimmed || completed.position < required {
            return Ok(());
        }
        let epochs: Vec<_> = view
            .snapshots()
            .map(|(collection, state)| (collection.clone(), Arc::clone(state.statistics())))
            .collect();
        // So that its snapshots can be freed.
        drop(view);
        self.kept.retain(|collection, _| epochs.iter().any(|(of, _)| of == collection));
        for (collection, statistics) in epochs {
            let epoch = statistics.epoch;
            if self.kept.get(&collection) != Some(&epoch) {
                let encoded = statistics.encode();
                let statistics = KeptStatistics { epoch, encoded };
                shared.truth.keep_statistics(&collection, statistics).await?;
                crash::at(Point::AfterStatistics);
                self.kept.insert(collection, epoch);
            }
        }
        // The engines first: what they do not have must not be trimmed.
        for index in [Some(&shared), self.next.as_ref()].into_iter().flatten() {
            index.store.complete(completed).await?;
            index.progress.forget(completed);
        }
        loop {
            let trimmed = shared.truth.trim(completed.position).await?;
            if trimmed <= self.trimmed || trimmed >= completed {
                self.trimmed = trimmed;
                return Ok(());
            }
            self.trimmed = trimmed;
        }
    }
}
