//! Follows the log with the index, and has the index of another model take over.
//!
//! The index of the next model follows the same log, unseen, from the documents to the newest commit,
//! for as long as that takes; it splits and embeds them anew. When it is close, the change of the model
//! is committed. From this commit on, answers must be made with the new model, and before it with the
//! old one. So the old index does not hear the commit: it states positions before it until the new one
//! has applied it, and then the views of the new one are published in its place. Commits that come in
//! between wait for that, for about as long as a page takes.
//!
//! If the process ends before the commit, the next one goes on where the new index is. If it ends
//! after it, the new index is the truth's, and answers nothing before it has applied the change.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::{MutexGuard, watch};
use tokio::time::sleep;
use weir_core::Commit;
use weir_core::crash::{self, Point};

use super::{Backoff, Index, Readers, Shared, Started, follow, stop, trim};
use crate::progress::View;

/// How many positions the next index may lag behind when the change is committed. Few, because
/// nothing becomes searchable until it has applied them.
const CLOSE: u64 = 64;

/// Runs until it is stopped. When `next` takes over, it is removed from `prepared`.
pub(super) async fn run(
    current: Started,
    next: Option<Started>,
    prepared: Arc<Mutex<Option<Arc<Shared>>>>,
    mut stopped: watch::Receiver<bool>,
) {
    let current = match next {
        None => current,
        Some(next) => match change(current, next, &mut stopped).await {
            Some(changed) => {
                prepared.lock().take();
                changed
            }
            None => return,
        },
    };
    follow_log(current, None, stopped).await;
}

/// Follows the log and trims it until it is stopped.
async fn follow_log(current: Started, next: Option<Started>, stopped: watch::Receiver<bool>) {
    let next_shared = next.as_ref().map(|next| Arc::clone(&next.shared));
    let trimming = trim::run(Arc::clone(&current.shared), next_shared, stopped.clone());
    let trimming = tokio::spawn(trimming);
    let following = follow::run(current.shared, current.rebuild, stopped.clone());
    match next {
        Some(next) => {
            tokio::join!(following, follow::run(next.shared, next.rebuild, stopped));
        }
        None => following.await,
    }
    if let Err(error) = trimming.await {
        tracing::error!(%error, "trimming ended before it was stopped");
    }
}

/// Follows the log with both until `next` has taken over, and returns it. `None` if it is stopped
/// before that.
async fn change(
    current: Started,
    next: Started,
    stopped: &mut watch::Receiver<bool>,
) -> Option<Started> {
    let (old, new) = (Arc::clone(&current.shared), Arc::clone(&next.shared));
    let (from, to) = (old.embedder.model(), new.embedder.model());
    tracing::info!(from, to, "building an index for another model in the background");
    let (halt, halted) = watch::channel(false);
    let following = tokio::spawn(follow_log(current, Some(next), halted));
    let committed = tokio::select! {
        biased;
        () = stop(stopped) => None,
        committed = commit(&old, &new) => Some(committed),
    };
    halt.send_replace(true);
    if let Err(error) = following.await {
        tracing::error!(%error, "the catch-up ended before it was stopped");
    }
    let (at, _deaf) = committed?;
    crash::at(Point::BeforeTakeover);
    old.observer.model_changed(at.position);
    old.progress.take_over(&new.progress.view(), at.position);
    crash::at(Point::AfterTakeover);
    tracing::info!(from, to, position = at.position.0, "the other model has taken over");
    // Its file is replaced at the next start; this frees its memory before that.
    let replaced = Arc::clone(&old.store);
    tokio::spawn(async move {
        if let Err(error) = replaced.clear().await {
            tracing::warn!(%error, "the index of the old model cannot be cleared");
        }
    });
    old.errors.lock().clear();
    let readers = Readers {
        progress: Arc::clone(&old.progress),
        observer: Arc::clone(&old.observer),
        errors: Arc::clone(&old.errors),
    };
    let index = Index {
        embedder: Arc::clone(&new.embedder),
        origin: Arc::clone(&new.origin),
        store: Arc::clone(&new.store),
    };
    let truth = Arc::clone(&new.truth);
    let shared = Shared::new(truth, index, readers, new.settings, Some(at.position));
    Some(Started { shared: Arc::new(shared), rebuild: None })
}

/// Commits the change when `new` is close, and waits until it has applied that. The old index does
/// not hear of it, or of anything later, while the guard is held.
async fn commit<'o>(old: &'o Shared, new: &Shared) -> (Commit, MutexGuard<'o, ()>) {
    // What there was at the start is the bulk of the work.
    let bulk = new.progress.read(View::heard);
    let mut backoff = Backoff::default();
    loop {
        new.progress.wait_for(|view| view.completed() >= bulk && is_close(view)).await;
        let deaf = old.hearing.lock().await;
        match new.truth.change_model(new.embedder.model_digest()).await {
            Ok(at) => {
                crash::at(Point::AfterModelChange);
                new.is_committed.store(true, Ordering::Relaxed);
                new.progress.wait_for(|view| view.completed() >= at).await;
                return (at, deaf);
            }
            Err(error) => {
                let pause = backoff.failed();
                tracing::warn!(%error, ?pause, "the model cannot be changed");
                drop(deaf);
                sleep(pause).await;
            }
        }
    }
}

fn is_close(view: &View) -> bool {
    let (heard, completed) = (view.heard().position.0, view.completed().position.0);
    heard.saturating_sub(completed) <= CLOSE
}
