//! Which positions a view allows, as lines are heard and applied.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use async_trait::async_trait;

use super::*;
use weir_core::Chain;
use weir_embedding::{EmbedError, Embedded, Origin, Texts};

struct Model;

#[async_trait]
impl Embedder for Model {
    fn model(&self) -> &str {
        "none"
    }

    fn model_digest(&self) -> &str {
        "0"
    }

    fn dimensions(&self) -> usize {
        0
    }

    fn count_tokens(&self, _text: &str) -> usize {
        0
    }

    async fn embed(&self, _: &Texts, _: &Origin) -> Result<Vec<Embedded>, EmbedError> {
        Ok(Vec::new())
    }
}

fn empty() -> View {
    View::at_start(Commit::ZERO, Position::ZERO, Arc::new(Model))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn commit(position: u32) -> Commit {
    Commit { position: Position(position.into()), chain: Chain(position) }
}

/// `last..=applied` of a collection.
fn range(progress: &Progress, collection: &str) -> (u64, u64) {
    let name = name(collection);
    progress.read(|view| (view.last(&name).position.0, view.applied(&name).position.0))
}

fn hear(progress: &Progress, head: u32, targets: &[(&str, u64)]) {
    let targets: Vec<_> = targets.iter().map(|(of, at)| (name(of), Position(*at))).collect();
    progress.hear(commit(head), &targets);
}

#[test]
fn an_idle_collection_advances_with_the_log_and_a_lagging_one_does_not() {
    let progress = Progress::new(empty());
    hear(&progress, 3, &[("a", 2)]);
    assert_eq!((range(&progress, "a"), range(&progress, "b")), ((0, 0), (0, 3)));
    progress.apply(&name("a"), commit(2), None);
    assert_eq!((range(&progress, "a"), range(&progress, "b")), ((2, 3), (0, 3)));
    hear(&progress, 9, &[("b", 9)]);
    assert_eq!((range(&progress, "a"), range(&progress, "b")), ((2, 9), (0, 3)));
    assert_eq!(progress.read(View::completed), commit(3));
    // One of several lines.
    progress.apply(&name("b"), commit(5), None);
    assert_eq!(range(&progress, "b"), (5, 5));
    hear(&progress, 12, &[("b", 11)]);
    progress.apply(&name("b"), commit(9), None);
    assert_eq!(range(&progress, "b"), (9, 9));
    progress.apply(&name("b"), commit(11), None);
    assert_eq!(range(&progress, "b"), (11, 12));
    assert_eq!(progress.read(View::completed), commit(12));
}

#[test]
fn collections_have_a_common_position_unless_one_lags_behind_anothers_change() {
    let progress = Progress::new(empty());
    let common = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|text| name(text)).collect();
        progress.read(|view| view.common(&names)).map(|at| at.position.0)
    };
    hear(&progress, 2, &[("a", 1), ("b", 2)]);
    assert_eq!((common(&["a", "b"]), common(&[])), (Some(0), Some(2)));
    progress.apply(&name("b"), commit(2), None);
    let all = [&["a"][..], &["b"], &["a", "b"], &["a", "c"], &["b", "c"]].map(common);
    assert_eq!(all, [Some(0), Some(2), None, Some(0), Some(2)]);
    progress.apply(&name("a"), commit(1), None);
    assert_eq!((common(&["a"]), common(&["a", "b"])), (Some(2), Some(2)));
}

#[test]
fn a_line_can_be_applied_before_it_is_heard() {
    let progress = Progress::new(empty());
    progress.apply(&name("a"), commit(2), None);
    assert_eq!((range(&progress, "a"), range(&progress, "b")), ((2, 2), (0, 0)));
    hear(&progress, 2, &[("a", 2)]);
    assert_eq!((range(&progress, "a"), range(&progress, "b")), ((2, 2), (0, 2)));
    // Then it goes on from where it was.
    progress.apply(&name("a"), commit(4), None);
    hear(&progress, 5, &[("a", 5)]);
    assert_eq!(range(&progress, "a"), (4, 4));
}

#[test]
fn what_is_forgotten_is_before_every_position_that_can_be_stated() {
    let progress = Progress::new(empty());
    hear(&progress, 6, &[("dropped", 4), ("slow", 6)]);
    progress.apply(&name("dropped"), commit(4), None);
    progress.forget(progress.read(View::completed));
    assert_eq!(range(&progress, "dropped"), (4, 6));
    progress.apply(&name("slow"), commit(6), None);
    progress.forget(progress.read(View::completed));
    assert_eq!(range(&progress, "dropped"), (0, 6));
}

#[tokio::test]
async fn a_reader_can_wait_for_a_later_view() {
    let progress = Arc::new(Progress::new(empty()));
    let waiting = Arc::clone(&progress);
    let task = tokio::spawn(async move {
        waiting.wait_for(|view| view.applied(&name("a")) >= commit(2)).await.heard()
    });
    hear(&progress, 2, &[("a", 1)]);
    progress.apply(&name("a"), commit(1), None);
    assert_eq!(task.await.unwrap(), commit(2));
}
