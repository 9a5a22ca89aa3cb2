//! A change of the model: prepared in the background, committed, and taken over.
//!
//! Model 0 splits the documents of these tests into their words; model 1 finds that each is one chunk.

use std::sync::OnceLock;

use super::*;
use crate::progress::View;

fn next(model: &Arc<Model>, store: &Arc<Store>) -> Index {
    let (embedder, store) = (Arc::clone(model), Arc::clone(store));
    Index { embedder, origin: origin(), store }
}

fn digest(view: &View) -> &str {
    view.embedder().model_digest()
}

/// Notes the changes of the model, with the model of the view that readers have then.
#[derive(Default)]
struct Changes {
    progress: OnceLock<Arc<Progress>>,
    noted: Mutex<Vec<(u64, String)>>,
    invalidated: Mutex<Vec<u64>>,
}

#[async_trait::async_trait]
impl Observer for Changes {
    async fn applied(&self, _collection: &Name, _lines: &[Change]) {}

    fn model_changed(&self, at: Position) {
        let view = self.progress.get().unwrap().view();
        self.noted.lock().push((at.0, digest(&view).to_owned()));
    }

    fn invalidated(&self, invalidations: &Invalidations) {
        let positions = invalidations.kept.iter().map(|one| one.position.0);
        self.invalidated.lock().extend(positions);
    }
}

impl Fixture {
    /// The position of the change to model 1.
    async fn changed(&self, catch_up: &CatchUp) -> Position {
        let view = catch_up.progress().wait_for(|view| digest(view) == "1").await;
        let model = self.truth.model().await.unwrap().unwrap();
        assert_eq!((model.digest.as_str(), view.required()), ("1", model.since));
        model.since
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_index_takes_over_and_is_what_a_new_one_would_be() {
    let mut f = Fixture::new().await;
    f.create("other").await;
    f.random_history(5).await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    let before = hits(&catch_up).await;
    catch_up.stop().await;

    let (model, store) = (model("1"), empty_store());
    let changes = Arc::new(Changes::default());
    let catch_up = f.start_observed(Some(next(&model, &store)), changes.clone(), NEVER).await;
    changes.progress.set(Arc::clone(catch_up.progress())).unwrap();
    f.put("other", vec![document("a", "oa ka")]).await;
    let at = f.changed(&catch_up).await;
    assert_eq!(*changes.noted.lock(), [(at.0, "0".to_owned())]);
    f.random_history(6).await;
    f.caught_up(&catch_up).await;
    assert_eq!(catch_up.status().next, None);
    let after = hits(&catch_up).await;
    assert_ne!(before, after);
    // The old one frees its memory.
    while !f.store.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    catch_up.stop().await;

    // At the next start, it is the index; and one that is made anew is the same.
    (f.model, f.store) = (model, store);
    let catch_up = f.start().await;
    assert_eq!(hits(&catch_up).await, after);
    catch_up.stop().await;
    let f = f.with_empty_store();
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    assert_eq!(hits(&catch_up).await, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_then_the_index_answers_and_nothing_that_is_needed_is_trimmed() {
    let f = Fixture::new().await;
    f.put_one("a", "one!").await;
    let trimming = Settings { trim_every: Duration::from_millis(1), ..NEVER };
    let (model, store) = (model("1"), empty_store());
    model.mood.send_replace(Mood::Hangs);
    let catch_up =
        f.start_observed(Some(next(&model, &store)), Arc::new(Unobserved), trimming).await;
    f.put_one("b", "two").await;
    f.caught_up(&catch_up).await;
    let status = catch_up.status();
    assert_eq!(status.lagging, []);
    let next_index = status.next.unwrap();
    assert_eq!((next_index.model.as_str(), next_index.applied), ("first-bytes", Position::ZERO));
    assert_eq!((next_index.lagging, next_index.last_error), (1, None));
    assert_eq!(f.truth.trimmed().await.unwrap(), Commit::ZERO);
    assert_eq!(digest(&catch_up.progress().view()), "0");
    catch_up.stop().await;

    // The next start goes on with it.
    model.mood.send_replace(Mood::Works);
    let catch_up =
        f.start_observed(Some(next(&model, &store)), Arc::new(Unobserved), trimming).await;
    let at = f.changed(&catch_up).await;
    f.caught_up(&catch_up).await;
    while f.truth.trimmed().await.unwrap().position < at {
        tokio::task::yield_now().await;
    }
    assert_eq!(f.embedded("one!"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_view_of_the_old_model_reaches_the_change_and_none_of_the_new_is_before_it() {
    let f = Arc::new(Fixture::new().await);
    f.create("other").await;
    f.random_history(7).await;
    let (model, store) = (model("1"), empty_store());
    let catch_up = f.start_observed(Some(next(&model, &store)), Arc::new(Unobserved), NEVER).await;
    let progress = Arc::clone(catch_up.progress());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watching = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            let mut last = None;
            progress
                .wait_for(|view| {
                    let names = [name("docs"), name("other"), name("absent")];
                    let applied = names.iter().map(|name| view.applied(name).position);
                    let (low, high) = (applied.clone().min(), applied.max());
                    seen.lock().push((digest(view).to_owned(), low.unwrap(), high.unwrap()));
                    // Until a write after the change is there.
                    let changed = digest(view) == "1";
                    let until = *last.get_or_insert_with(|| view.heard().position.0 + 170);
                    changed && view.completed().position.0 >= until
                })
                .await;
        }
    });
    f.random_history(8).await;
    let at = f.changed(&catch_up).await;
    f.random_history(9).await;
    watching.await.unwrap();
    for (model, low, high) in seen.lock().iter() {
        if model == "0" {
            assert!(*high < at, "{high} of the old model, changed at {at}");
        } else {
            assert!(*low >= at, "{low} of the new model, changed at {at}");
        }
    }
}

#[tokio::test]
async fn an_index_that_cannot_take_over_stalls_what_is_written_since_and_says_so() {
    let f = Fixture::new().await;
    f.put_one("a", "one").await;
    let (model, store) = (model("1"), empty_store());
    let commit = f.truth.head().await.unwrap().position.0 + 1;
    store.broken_from.store(commit, Ordering::Relaxed);
    let catch_up = f.start_observed(Some(next(&model, &store)), Arc::new(Unobserved), NEVER).await;
    let status = loop {
        let status = catch_up.status();
        if status.next.as_ref().is_some_and(|next| next.last_error.is_some()) {
            break status;
        }
        tokio::task::yield_now().await;
    };
    let next_index = status.next.unwrap();
    assert!(next_index.is_committed && next_index.applied < Position(commit));
    assert_eq!(status.last_error.as_deref(), Some("'docs': the vector store failed: disk full"));
    let view = catch_up.progress().view();
    assert_eq!((digest(&view), view.heard().position.0 < commit), ("0", true));
    store.broken_from.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(f.changed(&catch_up).await, Position(commit));
    f.caught_up(&catch_up).await;
}

#[tokio::test]
async fn a_crash_after_the_commit_answers_nothing_before_it() {
    let f = Fixture::new().await;
    f.put_one("a", "one two").await;
    // The next index is complete, but does not have the change.
    let catch_up = f.start_with(Settings { trim_every: Duration::from_millis(1), ..NEVER }).await;
    while f.store.completed() == Commit::ZERO {
        tokio::task::yield_now().await;
    }
    catch_up.stop().await;
    let at = f.truth.change_model("1").await.unwrap().position;
    let f = Fixture { model: model("1"), ..f };
    f.model.mood.send_replace(Mood::Hangs);
    let catch_up = f.start().await;
    assert_eq!(catch_up.progress().view().required(), at);
    f.caught_up(&catch_up).await;
}

#[tokio::test]
async fn what_another_model_has_split_is_split_again() {
    let f = Fixture::new().await;
    f.truth.change_model("1").await.unwrap();
    let f = Fixture { model: model("1"), ..f };
    let mine = NewDocument { split_by: "1".into(), ..document("mine", "one two three") };
    f.put("docs", vec![document("theirs", "one two three"), mine]).await;
    let catch_up = f.start().await;
    f.caught_up(&catch_up).await;
    let chunks = |catch_up: &CatchUp| {
        let view = catch_up.progress().view();
        view.snapshot(&name("docs")).unwrap().statistics().chunks
    };
    assert_eq!(chunks(&catch_up), 1 + 3);
    assert_eq!((f.embedded("one two three"), f.embedded("two")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalidations_are_observed_before_their_position_is_heard_by_whichever_index() {
    let f = Fixture::new().await;
    f.put_one("a", "one!").await;
    let changes = Arc::new(Changes::default());
    let (model, store) = (model("1"), empty_store());
    let catch_up = f.start_observed(Some(next(&model, &store)), changes.clone(), NEVER).await;
    changes.progress.set(Arc::clone(catch_up.progress())).unwrap();
    let invalidate = async || {
        let at = f.truth.invalidate("something", false).await.unwrap();
        catch_up.progress().wait_for(|view| view.heard() >= at).await;
        assert!(changes.invalidated.lock().contains(&at.position.0), "{at:?}");
    };
    // Both before and after the other index has taken over.
    for _ in 0..20 {
        invalidate().await;
    }
    f.changed(&catch_up).await;
    invalidate().await;
    catch_up.stop().await;

    // What came while nobody followed is observed at the start.
    let missed = f.truth.invalidate("something", false).await.unwrap();
    let changes = Arc::new(Changes::default());
    let f = Fixture { model, store, ..f };
    let _catch_up = f.start_observed(None, changes.clone(), NEVER).await;
    assert!(changes.invalidated.lock().contains(&missed.position.0));
}
