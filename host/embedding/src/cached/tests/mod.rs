//! The memory tier in front of a model that answers when a test allows it.

#![expect(clippy::unwrap_used, reason = "a test's failure is its message")]

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::{Embedding, Pending};

mod shared;

/// Records its calls, and answers when the test allows it. The angle of a text's vector is its length;
/// "long" is too long, and "busy" finds the queue full. A model with the digest "wide" does not have the
/// dimensions that it says.
struct Noting {
    calls: Mutex<Vec<Vec<String>>>,
    turns: Arc<Semaphore>,
    /// Texts that were dropped before their turn.
    left: Arc<Mutex<Vec<String>>>,
    digest: &'static str,
}

#[async_trait]
impl Embedder for Noting {
    fn model(&self) -> &str {
        "noting"
    }

    fn model_digest(&self) -> &str {
        self.digest
    }

    fn dimensions(&self) -> usize {
        if self.digest == "wide" { 3 } else { 2 }
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    async fn embed(&self, texts: &Texts, origin: &Origin) -> Result<Vec<Embedded>, EmbedError> {
        let mut pending = self.submit(texts.distinct(), origin)?;
        let mut embedded = vec![None; texts.distinct().len()];
        while let Some((index, answer)) = pending.next().await {
            let first = |_| texts.first(index);
            embedded[index] = Some(answer.map_err(|error| error.reindexed(first))?);
        }
        Ok(texts.spread(embedded.into_iter().map(Option::unwrap).collect()))
    }
}

impl Submit for Noting {
    fn submit(&self, texts: &[Arc<str>], _: &Origin) -> Result<Box<dyn Pending>, EmbedError> {
        self.calls.lock().push(texts.iter().map(ToString::to_string).collect());
        if texts.iter().any(|text| **text == *"busy") {
            return Err(EmbedError::Overloaded);
        }
        let pending = texts.iter().map(|text| {
            let (text, turns, left) =
                (text.to_string(), Arc::clone(&self.turns), Arc::clone(&self.left));
            async move {
                let mut leaving = Leaving { text: Some(text.clone()), left };
                turns.acquire().await.unwrap().forget();
                leaving.text = None;
                answer(&text)
            }
            .boxed()
        });
        Ok(Box::new(Noted(pending.map(Some).collect())))
    }
}

/// Texts that have had no answer and were not cancelled.
struct Noted(Vec<Option<BoxFuture<'static, Answer>>>);

impl Stream for Noted {
    type Item = (usize, Answer);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        for (index, text) in self.0.iter_mut().enumerate() {
            if let Some(Poll::Ready(answer)) = text.as_mut().map(|text| text.poll_unpin(context)) {
                *text = None;
                return Poll::Ready(Some((index, answer)));
            }
        }
        if self.0.iter().all(Option::is_none) { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl Pending for Noted {
    fn cancel(&mut self, indexes: &[usize]) {
        for &index in indexes {
            self.0[index] = None;
        }
    }
}

/// Notes a text that is dropped before it has its turn.
struct Leaving {
    text: Option<String>,
    left: Arc<Mutex<Vec<String>>>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.left.lock().extend(self.text.take());
    }
}

fn answer(text: &str) -> Answer {
    match text {
        "long" => Err(EmbedError::TooLong { index: 0, tokens: 9, max_tokens: 3 }),
        text => {
            let (sine, cosine) = (text.len() as f32).sin_cos();
            Ok(Embedded { vector: Embedding([cosine, sine].into()), tokens: text.len() })
        }
    }
}

type Asked = tokio::task::JoinHandle<Result<Vec<Embedded>, EmbedError>>;

struct Harness(Arc<Cached<Noting>>);

impl Harness {
    fn new(turns: usize, cache_bytes: u64) -> Self {
        Self::with(turns, Caches::Shared(cache_bytes))
    }

    fn with(turns: usize, caches: Caches) -> Self {
        Self::over(turns, caches, "00", &Arc::default())
    }

    /// With a model of this digest, and shared tiers.
    fn over(
        turns: usize,
        caches: Caches,
        digest: &'static str,
        shared: &Arc<SharedVectors>,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(turns));
        let noting = Noting { calls: Mutex::default(), turns, left: Arc::default(), digest };
        Self(Arc::new(Cached::new(noting, caches, Arc::clone(shared))))
    }

    async fn ask(&self, texts: &[&str], origin: &Origin) -> Asked {
        let (cached, origin) = (Arc::clone(&self.0), origin.clone());
        let texts = Texts::new(texts.iter().copied());
        let asked = tokio::spawn(async move { cached.embed(&texts, &origin).await });
        settle().await;
        asked
    }

    fn turns(&self, turns: usize) {
        self.0.inner().turns.add_permits(turns);
    }

    fn calls(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.0.inner().calls.lock())
    }

    fn left(&self) -> Vec<String> {
        let mut left = std::mem::take(&mut *self.0.inner().left.lock());
        left.sort();
        left
    }
}

/// The test's runtime has one thread, so the yields let every task run until it waits.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

async fn leave(asked: Asked) {
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    settle().await;
}

/// What the model answers, without a tier.
fn all(texts: &[&str]) -> Result<Vec<Embedded>, EmbedError> {
    let answered = texts.iter().enumerate();
    answered.map(|(index, text)| answer(text).map_err(|error| error.reindexed(|_| index))).collect()
}

fn api() -> Origin {
    Origin::api("a")
}

#[tokio::test]
async fn a_text_is_computed_once_and_then_known_with_its_tokens() {
    let harness = Harness::new(0, 1 << 20);
    let asked = ["a", "bb", "a", "ccc"];
    let one = harness.ask(&asked, &api()).await;
    let other = harness.ask(&["bb", "dddd"], &api()).await;
    assert_eq!(harness.calls(), [&["a", "bb", "ccc"][..], &["dddd"]]);
    harness.turns(4);
    assert_eq!(one.await.unwrap(), all(&asked));
    assert_eq!(other.await.unwrap(), all(&["bb", "dddd"]));
    // For everybody.
    for origin in [api(), Origin::api("b"), Origin::pipeline("a", "p")] {
        let known = harness.ask(&asked, &origin).await;
        assert_eq!(known.await.unwrap(), all(&asked));
    }
    assert_eq!(harness.calls().len(), 0);
}

#[tokio::test]
async fn the_catch_up_bypasses_the_tier_and_computes_once_per_call() {
    let harness = Harness::new(9, 1 << 20);
    for origin in [Origin::catch_up("a"), Origin::catch_up("a"), api()] {
        let asked = harness.ask(&["a", "a"], &origin).await;
        assert_eq!(asked.await.unwrap(), all(&["a", "a"]));
        assert_eq!(harness.calls(), [["a"]], "{origin:?}");
    }
}

#[tokio::test]
async fn a_text_is_computed_until_the_last_call_that_waits_for_it_has_left() {
    let harness = Harness::new(0, 1 << 20);
    let leader = harness.ask(&["a", "b"], &api()).await;
    let [stays, leaves] = [harness.ask(&["a"], &api()).await, harness.ask(&["a"], &api()).await];
    leave(leader).await;
    // Nobody else waits for that one.
    assert_eq!(harness.left(), ["b"]);
    leave(leaves).await;
    harness.turns(1);
    assert_eq!(stays.await.unwrap(), all(&["a"]));
    assert_eq!((harness.calls().len(), harness.left().len()), (1, 0));

    // All leave, in either order.
    for leader_first in [true, false] {
        let leader = harness.ask(&["c"], &api()).await;
        let follower = harness.ask(&["c"], &api()).await;
        let (first, last) = if leader_first { (leader, follower) } else { (follower, leader) };
        leave(first).await;
        assert_eq!(harness.left().len(), 0);
        leave(last).await;
        assert_eq!(harness.left(), ["c"]);
        // The next one to ask leads.
        assert_eq!(harness.calls(), [["c"]]);
    }
    let again = harness.ask(&["c"], &api()).await;
    harness.turns(1);
    assert_eq!(again.await.unwrap(), all(&["c"]));
}

#[tokio::test]
async fn a_call_that_leaves_cancels_what_it_still_waits_for_and_nobody_else_does() {
    let harness = Harness::new(0, 1 << 20);
    let call = harness.ask(&["answered", "b", "c", "left", "also left"], &api()).await;
    let [b, c] = [harness.ask(&["b"], &api()).await, harness.ask(&["c"], &api()).await];
    harness.turns(1);
    settle().await;
    leave(call).await;
    assert_eq!(harness.left(), ["also left", "left"]);
    leave(c).await;
    assert_eq!(harness.left(), ["c"]);
    harness.turns(1);
    assert_eq!(b.await.unwrap(), all(&["b"]));
    assert_eq!(harness.0.flights.flights(), 0);
    // What was answered before, and what was answered after the call had left.
    let known = harness.ask(&["answered", "b"], &api()).await;
    assert_eq!(known.await.unwrap(), all(&["answered", "b"]));
    assert_eq!(harness.calls().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_refused_is_refused_whole_and_its_followers_try_for_themselves() {
    let harness = Harness::new(9, 1 << 20);
    let [refused, follows] = [["a", "busy", "b"], ["b", "a", "c"]].map(Texts::new);
    let api = api();
    // Both are polled before the task that computes for the first one.
    let (refused, follows) =
        futures::join!(harness.0.embed(&refused, &api), harness.0.embed(&follows, &api));
    assert_eq!(refused, Err(EmbedError::Overloaded));
    assert_eq!(follows, all(&["b", "a", "c"]));
    let mut calls = harness.calls();
    calls[1..].sort();
    assert_eq!(calls, [&["a", "busy", "b"][..], &["a"], &["b"], &["c"]]);
    assert_eq!(harness.0.flights.flights(), 0);
}

#[tokio::test]
async fn an_error_ends_the_call_and_what_only_it_waits_for() {
    let harness = Harness::new(0, 1 << 20);
    let call = harness.ask(&["long", "a", "b"], &api()).await;
    let follower = harness.ask(&["b"], &api()).await;
    harness.turns(1);
    assert_eq!(call.await.unwrap(), all(&["long"]));
    settle().await;
    assert_eq!(harness.left(), ["a"]);
    harness.turns(1);
    assert_eq!(follower.await.unwrap(), all(&["b"]));
}

#[tokio::test]
async fn calls_of_other_origins_do_not_wait_for_each_other() {
    let harness = Harness::new(0, 1 << 20);
    let mut asked = Vec::new();
    for origin in [api(), Origin::api("b"), Origin::pipeline("a", "p")] {
        asked.push(harness.ask(&["a"], &origin).await);
        assert_eq!(harness.calls(), [["a"]], "{origin:?}");
    }
    harness.turns(3);
    for asked in asked {
        assert_eq!(asked.await.unwrap(), all(&["a"]));
    }
}

#[tokio::test]
async fn an_error_reaches_those_that_it_concerns_and_is_not_cached() {
    let harness = Harness::new(0, 1 << 20);
    let busy = harness.ask(&["a", "busy"], &api()).await;
    assert_eq!(busy.await.unwrap(), Err(EmbedError::Overloaded));
    let leader = harness.ask(&["long", "a"], &api()).await;
    let follower = harness.ask(&["a"], &api()).await;
    harness.turns(2);
    assert_eq!(leader.await.unwrap(), all(&["long"]));
    assert_eq!(follower.await.unwrap(), all(&["a"]));
    harness.turns(1);
    let again = harness.ask(&["long"], &api()).await;
    assert_eq!(again.await.unwrap(), all(&["long"]));
    let calls = harness.calls();
    assert_eq!(calls, [&["a", "busy"][..], &["long", "a"], &["long"]]);
}

#[tokio::test]
async fn a_long_text_is_named_by_its_index_in_the_call() {
    for (known, texts, index) in [
        (None, ["long", "a", "b"], 0),
        (None, ["a", "a", "long"], 2),
        (Some("a"), ["a", "b", "long"], 2),
    ] {
        let harness = Harness::new(9, 1 << 20);
        if let Some(known) = known {
            harness.ask(&[known], &api()).await.await.unwrap().unwrap();
        }
        for origin in [api(), Origin::catch_up("a")] {
            let asked = harness.ask(&texts, &origin).await;
            let expected = Err(EmbedError::TooLong { index, tokens: 9, max_tokens: 3 });
            assert_eq!(asked.await.unwrap(), expected, "{texts:?} {origin:?}");
        }
    }
}

#[tokio::test]
async fn a_tier_without_bytes_keeps_nothing() {
    let harness = Harness::new(2, 0);
    for _ in 0..2 {
        let asked = harness.ask(&["a"], &api()).await;
        assert_eq!(asked.await.unwrap(), all(&["a"]));
        assert_eq!(harness.calls(), [["a"]]);
    }
}

fn of_tenants(bytes: &[(&str, u64)]) -> Caches {
    Caches::OfTenants(bytes.iter().map(|(tenant, bytes)| ((*tenant).to_owned(), *bytes)).collect())
}

#[tokio::test]
async fn a_tenant_does_not_learn_from_its_vectors_what_another_has_embedded() {
    let harness = Harness::with(99, of_tenants(&[("a", 1 << 20), ("b", 1 << 20)]));
    let computed = async |origin: &Origin| {
        let asked = harness.ask(&["text"], origin).await;
        assert_eq!(asked.await.unwrap(), all(&["text"]));
        !harness.calls().is_empty()
    };
    for (origin, expected) in [
        (Origin::api("a"), true),
        (Origin::api("b"), true),
        // All of a tenant's callers have its vectors.
        (Origin::api("a"), false),
        (Origin::pipeline("a", "p"), false),
        (Origin::pipeline("b", "p"), false),
        // A tenant without a tier, whose name begins like one with a tier.
        (Origin::pipeline("ab", "p"), true),
        (Origin::pipeline("ab", "p"), true),
    ] {
        assert_eq!(computed(&origin).await, expected, "{origin:?}");
    }
}

/// If one evicted another's, it would tell from its own misses how much the other embeds.
#[tokio::test]
async fn a_tenant_does_not_evict_the_vectors_of_another() {
    const SMALL: u64 = 4 << 10;
    let harness = Harness::with(usize::MAX >> 4, of_tenants(&[("a", SMALL), ("b", SMALL)]));
    harness.ask(&["text"], &Origin::api("a")).await.await.unwrap().unwrap();
    for round in 0..4 {
        for text in 0..64 {
            let asked = harness.ask(&[&format!("{text}")], &Origin::api("b")).await;
            asked.await.unwrap().unwrap();
        }
        let calls = harness.calls().len();
        assert!(round == 0 || calls > 32, "b has evicted its own: {calls}");
    }
    harness.ask(&["text"], &Origin::api("a")).await.await.unwrap().unwrap();
    assert_eq!(harness.calls(), [[""; 0]; 0]);
}

#[tokio::test]
async fn tenants_share_what_is_in_flight_no_more_than_what_is_known() {
    for caches in [Caches::Shared(1 << 20), of_tenants(&[("a", 1 << 20), ("b", 1 << 20)])] {
        let harness = Harness::with(0, caches);
        let a = harness.ask(&["text"], &Origin::api("a")).await;
        let b = harness.ask(&["text"], &Origin::api("b")).await;
        assert_eq!(harness.calls(), [["text"], ["text"]]);
        harness.turns(2);
        assert_eq!((a.await.unwrap(), b.await.unwrap()), (all(&["text"]), all(&["text"])));
    }
}
