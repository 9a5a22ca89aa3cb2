//! Brings one collection up to date, page by page, and ends when it does not lag any more.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::sleep;
use weir_core::Commit;
use weir_core::crash::{self, Point};
use weir_core::fault::{self, Fault};
use weir_core::name::Name;
use weir_store::{Change, TruthError};

use super::page::{self, Prepared};
use super::{Backoff, CatchUpError, Shared, rebuild, stop};

/// How late a step comes that a fault delays.
const LATE: Duration = Duration::from_millis(20);

/// Where a worker begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the documents as they were at this commit.
    Scan(Commit),
    /// With the lines after this commit.
    Log(Commit),
}

enum Step {
    Applied(Commit),
    NothingToDo,
    Stopped,
}

/// Works until the collection does not lag, or until it is stopped.
pub(super) async fn work(
    shared: &Shared,
    collection: &Name,
    mut start: Start,
    mut stopped: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::default();
    loop {
        // A panic in a store or an embedder counts as a failure.
        let step = AssertUnwindSafe(step(shared, collection, start, &mut stopped)).catch_unwind();
        match step.await.unwrap_or(Err(CatchUpError::Panicked)) {
            Ok(Step::Stopped) => return,
            Ok(Step::NothingToDo) => {
                shared.note(Some(collection), None);
                return;
            }
            Ok(Step::Applied(up_to)) => {
                backoff.worked();
                shared.note(Some(collection), None);
                start = Start::Log(up_to);
            }
            Err(error) => {
                let pause = backoff.failed();
                let collection_name = collection.as_str();
                tracing::warn!(collection = collection_name, %error, ?pause, "the catch-up is stalled");
                shared.note(Some(collection), Some(error.to_string()));
                tokio::select! {
                    () = stop(&mut stopped) => return,
                    () = sleep(pause) => {}
                }
            }
        }
    }
}

async fn step(
    shared: &Shared,
    collection: &Name,
    start: Start,
    stopped: &mut watch::Receiver<bool>,
) -> Result<Step, CatchUpError> {
    let prepare = async {
        let permit = shared.pages.acquire().await.map_err(|_| CatchUpError::Panicked)?;
        let prepared = match start {
            Start::Scan(at) => Some(rebuild::prepare(shared, collection, at).await?),
            Start::Log(after) => page::prepare(shared, collection, after).await?,
        };
        Ok::<_, CatchUpError>(prepared.map(|prepared| (prepared, permit)))
    };
    let prepared = tokio::select! {
        biased;
        () = stop(stopped) => return Ok(Step::Stopped),
        prepared = prepare => prepared,
    };
    if let Err(CatchUpError::Truth(TruthError::Trimmed { .. })) = &prepared
        && fault::is(Fault::TrimmedTooEarly)
    {
        let view = shared.progress.view();
        shared.progress.apply(collection, view.heard(), view.snapshot(collection).cloned());
        return Ok(Step::NothingToDo);
    }
    let Some((prepared, _permit)) = prepared? else { return Ok(Step::NothingToDo) };
    // A stop does not cancel this, because an engine need not be safe to interrupt.
    apply(shared, prepared).await.map(Step::Applied)
}

/// Durable first, then the observer, then the readers.
async fn apply(shared: &Shared, prepared: Prepared) -> Result<Commit, CatchUpError> {
    let Prepared { page, lines } = prepared;
    let (collection, up_to) = (page.collection.clone(), page.up_to);
    let snapshot = shared.store.apply(page).await?;
    if fault::is(Fault::TagMovedLate) {
        shared.progress.apply(&collection, up_to, snapshot.clone());
        sleep(LATE).await;
    }
    announce(shared, &collection, &lines).await;
    crash::at(Point::AfterTags);
    if fault::is(Fault::SnapshotAfterPosition) {
        let before = shared.progress.view().snapshot(&collection).cloned();
        shared.progress.apply(&collection, up_to, before);
        sleep(LATE).await;
    }
    shared.progress.apply(&collection, up_to, snapshot);
    crash::at(Point::AfterPublish);
    Ok(up_to)
}

async fn announce(shared: &Shared, collection: &Name, lines: &[Change]) {
    if !lines.is_empty() {
        shared.observer.applied(collection, lines).await;
    }
}
