//! The memory tier in front of a model: a text whose vector is in the tier is not embedded
//! again, and a text that several callers ask for at the same time is computed once.
//!
//! The key of a vector is the model's digest and the text. Vectors never expire, because another
//! model has other keys; they are only evicted. Bulk texts bypass the tier, since documents would
//! evict the questions that people repeat.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::key::{KeyBuilder, KeyPrefix};
use weir_cache::memory::MemoryTier;
use weir_cache::reads::Dependencies;
use weir_cache::single_flight::{Flight, Follower, Leader, SingleFlight};
use weir_cache::tag::Reads;
use weir_core::Position;

use super::{EmbedError, Embedder, Embedding, Lane};

/// The most texts being computed that others can wait for; beyond that, callers compute for
/// themselves.
const MAX_FLIGHTS: usize = 4096;

/// The most callers that wait for one text; beyond that, callers compute for themselves.
const MAX_FOLLOWERS: usize = 4096;

type Answer = Result<Embedding, EmbedError>;

/// An [`Embedder`] that asks `E` only for vectors that it does not have.
///
/// Dropping the future of an interactive call does not cancel its texts: others may be waiting
/// for them, and their vectors are cached.
pub struct Cached<E> {
    inner: Arc<E>,
    prefix: KeyPrefix,
    vectors: Arc<MemoryTier<Embedding>>,
    flights: SingleFlight<CacheKey, Answer>,
}

/// Where the vector of a text comes from.
enum Source {
    Known(Embedding),
    /// Computed by this call, and shared with followers unless too many texts are being
    /// computed.
    Computed(Option<Leader<CacheKey, Answer>>),
    Followed(Follower<Answer>),
}

/// A text that this call computes: its index among the call's texts, and who waits for it.
struct Computed {
    place: usize,
    key: CacheKey,
    text: Arc<str>,
    leader: Option<Leader<CacheKey, Answer>>,
}

impl<E: Embedder + 'static> Cached<E> {
    /// Puts a tier of at most `cache_bytes` in front of `inner`; 0 caches nothing.
    #[must_use]
    pub fn new(inner: E, cache_bytes: u64) -> Self {
        Self {
            prefix: KeyPrefix::new(&["embedding", inner.model_digest()]),
            inner: Arc::new(inner),
            vectors: Arc::new(MemoryTier::new(cache_bytes)),
            flights: SingleFlight::new(MAX_FLIGHTS, MAX_FOLLOWERS),
        }
    }

    /// The embedder behind the tier.
    #[must_use]
    pub fn inner(&self) -> &E {
        &self.inner
    }

    fn source_of(&self, key: CacheKey) -> Source {
        let known = || self.vectors.get(&key).map(|entry| Source::Known(entry.value.clone()));
        let join = || match self.flights.join(key) {
            // Since the lookup above, another leader may have stored the vector and finished.
            Flight::Lead(leader) => known().unwrap_or(Source::Computed(Some(leader))),
            Flight::Follow(follower) => Source::Followed(follower),
            Flight::Crowded => Source::Computed(None),
        };
        known().unwrap_or_else(join)
    }

    /// Resolves distinct texts: each from the tier, from another call, or by computing it.
    async fn embed_once(&self, texts: &[Arc<str>]) -> Result<Vec<Embedding>, EmbedError> {
        let mut vectors: Vec<Option<Embedding>> = vec![None; texts.len()];
        let (mut computed, mut followed) = (Vec::new(), Vec::new());
        for (place, text) in texts.iter().enumerate() {
            let key = KeyBuilder::new(&self.prefix).part(text.as_bytes()).finish();
            match self.source_of(key) {
                Source::Known(vector) => vectors[place] = Some(vector),
                Source::Computed(leader) => {
                    computed.push(Computed { place, key, text: Arc::clone(text), leader });
                }
                Source::Followed(follower) => followed.push((place, follower)),
            }
        }
        if !computed.is_empty() {
            let (inner, tier) = (Arc::clone(&self.inner), Arc::clone(&self.vectors));
            // Detached: if this call is cancelled, the followers still get their vectors.
            let computing = tokio::spawn(compute(inner, tier, computed));
            let found = computing
                .await
                .map_err(|error| EmbedError::Failed(format!("the embedding task: {error}")))??;
            for (place, vector) in found {
                vectors[place] = Some(vector);
            }
        }
        for (place, follower) in followed {
            let vector = match follower.wait().await {
                Ok(answer) => answer?,
                // The leader gave no answer, most likely because one of its texts is too long.
                // That may be another text, so this one is tried alone.
                Err(_) => {
                    let text = std::slice::from_ref(&texts[place]);
                    let alone = self.inner.embed(text, Lane::Interactive).await;
                    alone.map_err(|error| error.reindexed(|_| place))?.remove(0)
                }
            };
            vectors[place] = Some(vector);
        }
        let all: Option<Vec<_>> = vectors.into_iter().collect();
        all.ok_or_else(|| EmbedError::Failed("a text was not embedded".into()))
    }
}

/// Embeds the texts of one call, stores their vectors, and gives them to the followers.
async fn compute<E: Embedder>(
    inner: Arc<E>,
    tier: Arc<MemoryTier<Embedding>>,
    computed: Vec<Computed>,
) -> Result<Vec<(usize, Embedding)>, EmbedError> {
    let texts: Vec<_> = computed.iter().map(|text| Arc::clone(&text.text)).collect();
    match inner.embed(&texts, Lane::Interactive).await {
        Ok(vectors) => {
            let mut found = Vec::with_capacity(vectors.len());
            for (text, vector) in computed.into_iter().zip(vectors) {
                // A tier too small for one vector stores nothing; that only costs time.
                let _ = tier.insert(text.key, entry(vector.clone()));
                if let Some(leader) = text.leader {
                    leader.finish(Ok(vector.clone()));
                }
                found.push((text.place, vector));
            }
            Ok(found)
        }
        // Only one of these texts is too long. Dropping the leaders makes their followers compute
        // for themselves.
        Err(error @ EmbedError::TooLong { .. }) => {
            Err(error.reindexed(|index| computed.get(index).map_or(index, |text| text.place)))
        }
        Err(error) => {
            for leader in computed.into_iter().filter_map(|text| text.leader) {
                leader.finish(Err(error.clone()));
            }
            Err(error)
        }
    }
}

/// A vector depends only on its key, so it has no read set and never expires.
fn entry(vector: Embedding) -> Entry<Embedding> {
    let weight_bytes = u32::try_from(size_of_val(&*vector.0)).unwrap_or(u32::MAX);
    Entry {
        value: vector,
        as_of: Position::ZERO,
        reads: Reads::default(),
        depends_on: Dependencies::default(),
        stored_at: Moment::now(),
        ttl: Duration::MAX,
        weight_bytes,
    }
}

/// The distinct texts, and the index of each of `texts` among them.
fn distinct(texts: &[Arc<str>]) -> (Vec<Arc<str>>, Vec<usize>) {
    let mut first_places: HashMap<&str, usize> = HashMap::with_capacity(texts.len());
    let mut distinct = Vec::with_capacity(texts.len());
    let places = texts
        .iter()
        .map(|text| {
            *first_places.entry(text).or_insert_with(|| {
                distinct.push(Arc::clone(text));
                distinct.len() - 1
            })
        })
        .collect();
    (distinct, places)
}

#[async_trait]
impl<E: Embedder + 'static> Embedder for Cached<E> {
    fn model(&self) -> &str {
        self.inner.model()
    }

    fn model_digest(&self) -> &str {
        self.inner.model_digest()
    }

    fn dimensions(&self) -> usize {
        self.inner.dimensions()
    }

    fn max_tokens(&self) -> usize {
        self.inner.max_tokens()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    async fn embed(&self, texts: &[Arc<str>], lane: Lane) -> Result<Vec<Embedding>, EmbedError> {
        let (distinct, places) = distinct(texts);
        let vectors = match lane {
            Lane::Interactive => self.embed_once(&distinct).await,
            Lane::Bulk => self.inner.embed(&distinct, lane).await,
        };
        let first = |distinct| places.iter().position(|place| *place == distinct);
        let vectors =
            vectors.map_err(|error| error.reindexed(|index| first(index).unwrap_or(index)))?;
        Ok(places.into_iter().map(|place| vectors[place].clone()).collect())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test's failure is its message")]
mod tests {
    use parking_lot::Mutex;
    use tokio::sync::Semaphore;

    use super::*;

    /// Records its calls, and answers when the test allows it. A text's vector is its length;
    /// "long" is too long, and "busy" finds the queue full.
    struct Noting {
        calls: Mutex<Vec<Vec<String>>>,
        turns: Semaphore,
    }

    #[async_trait]
    impl Embedder for Noting {
        fn model(&self) -> &str {
            "noting"
        }

        fn model_digest(&self) -> &str {
            "00"
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }

        async fn embed(
            &self,
            texts: &[Arc<str>],
            _lane: Lane,
        ) -> Result<Vec<Embedding>, EmbedError> {
            self.calls.lock().push(texts.iter().map(ToString::to_string).collect());
            self.turns.acquire().await.unwrap().forget();
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            all(&texts)
        }
    }

    fn answer(text: &str) -> Answer {
        match text {
            "long" => Err(EmbedError::TooLong { index: 0, tokens: 9, max_tokens: 3 }),
            "busy" => Err(EmbedError::Overloaded),
            text => Ok(Embedding([text.len() as f32].into())),
        }
    }

    type Asked = tokio::task::JoinHandle<Result<Vec<Embedding>, EmbedError>>;

    struct Harness(Arc<Cached<Noting>>);

    impl Harness {
        fn new(turns: usize, cache_bytes: u64) -> Self {
            let noting = Noting { calls: Mutex::default(), turns: Semaphore::new(turns) };
            Self(Arc::new(Cached::new(noting, cache_bytes)))
        }

        /// The test's runtime has one thread, so the yields let every task run until it waits.
        async fn ask(&self, texts: &[&str], lane: Lane) -> Asked {
            let cached = Arc::clone(&self.0);
            let texts: Vec<Arc<str>> = texts.iter().map(|&text| text.into()).collect();
            let asked = tokio::spawn(async move { cached.embed(&texts, lane).await });
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            asked
        }

        fn turn(&self) {
            self.0.inner().turns.add_permits(1);
        }

        fn calls(&self) -> Vec<Vec<String>> {
            std::mem::take(&mut *self.0.inner().calls.lock())
        }
    }

    /// What the model answers, without a tier.
    fn all(texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let answered = texts.iter().enumerate();
        answered
            .map(|(index, text)| answer(text).map_err(|error| error.reindexed(|_| index)))
            .collect()
    }

    #[tokio::test]
    async fn a_text_is_computed_once_and_then_known() {
        let harness = Harness::new(0, 1 << 20);
        let asked = ["a", "bb", "a", "ccc"];
        let one = harness.ask(&asked, Lane::Interactive).await;
        let other = harness.ask(&["bb", "dddd"], Lane::Interactive).await;
        assert_eq!(harness.calls(), [&["a", "bb", "ccc"][..], &["dddd"]]);
        harness.turn();
        harness.turn();
        assert_eq!(one.await.unwrap(), all(&asked));
        assert_eq!(other.await.unwrap(), all(&["bb", "dddd"]));
        let known = harness.ask(&asked, Lane::Interactive).await;
        assert_eq!(known.await.unwrap(), all(&asked));
        assert_eq!(harness.calls().len(), 0);
    }

    #[tokio::test]
    async fn bulk_texts_bypass_the_tier_and_are_computed_once_per_call() {
        let harness = Harness::new(9, 1 << 20);
        for lane in [Lane::Bulk, Lane::Bulk, Lane::Interactive] {
            let asked = harness.ask(&["a", "a"], lane).await;
            assert_eq!(asked.await.unwrap(), all(&["a", "a"]));
            assert_eq!(harness.calls(), [["a"]], "{lane:?}");
        }
    }

    #[tokio::test]
    async fn a_cancelled_leader_does_not_cancel_its_followers() {
        let harness = Harness::new(0, 1 << 20);
        let leader = harness.ask(&["a"], Lane::Interactive).await;
        let follower = harness.ask(&["a"], Lane::Interactive).await;
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        harness.turn();
        assert_eq!(follower.await.unwrap(), all(&["a"]));
        assert_eq!(harness.calls(), [["a"]]);
    }

    #[tokio::test]
    async fn a_leaders_error_reaches_only_the_followers_that_it_concerns() {
        // (what the leader asks for besides "a", what its follower gets, calls to the model)
        let cases = [("busy", Err(EmbedError::Overloaded), 1), ("long", all(&["a"]), 2)];
        for (beside, expected, calls) in cases {
            let harness = Harness::new(0, 1 << 20);
            let leader = harness.ask(&["a", beside], Lane::Interactive).await;
            let follower = harness.ask(&["a"], Lane::Interactive).await;
            harness.turn();
            harness.turn();
            assert_eq!(leader.await.unwrap(), all(&["a", beside]));
            assert_eq!(follower.await.unwrap(), expected, "{beside}");
            assert_eq!(harness.calls().len(), calls, "{beside}");
            // Errors are not cached.
            harness.turn();
            let again = harness.ask(&["a"], Lane::Interactive).await;
            assert_eq!(again.await.unwrap(), all(&["a"]));
        }
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
                harness.ask(&[known], Lane::Interactive).await.await.unwrap().unwrap();
            }
            for lane in [Lane::Interactive, Lane::Bulk] {
                let asked = harness.ask(&texts, lane).await;
                let expected = Err(EmbedError::TooLong { index, tokens: 9, max_tokens: 3 });
                assert_eq!(asked.await.unwrap(), expected, "{texts:?} {lane:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_tier_without_bytes_keeps_nothing() {
        let harness = Harness::new(2, 0);
        for _ in 0..2 {
            let asked = harness.ask(&["a"], Lane::Interactive).await;
            assert_eq!(asked.await.unwrap(), all(&["a"]));
            assert_eq!(harness.calls(), [["a"]]);
        }
    }
}
