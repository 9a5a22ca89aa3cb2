//! The memory tier in front of a model: a text whose vector is in the tier is not embedded
//! again, and a text that several calls of one origin ask for at the same time is computed once.
//!
//! The key of a vector is the model's digest and the text. Vectors never expire, because another
//! model has other keys; they are only evicted. The catch-up bypasses the tier, since documents would
//! evict the questions that people repeat.
//!
//! Unless its operator has them share one ([`Caches`]), each tenant has a tier of its own: from one in
//! common, the time of an answer would tell a tenant what texts another has embedded.
//!
//! A text is computed for as long as a call waits for it, whichever asked first. Calls of different
//! origins do not wait for each other's texts: one would wait in the other's turn.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio::select;
use weir_cache::CacheKey;
use weir_cache::entry::{Entry, Moment};
use weir_cache::key::{KeyBuilder, KeyPrefix};
use weir_cache::lifetime::Lifetime;
use weir_cache::memory::MemoryTier;
use weir_cache::reads::Dependencies;
use weir_cache::single_flight::{Flight, Follower, Leader, SingleFlight};
use weir_cache::tag::Reads;
use weir_core::Commit;

use super::{EmbedError, Embedded, Embedder, Lane, Origin, Pending, Submit};

/// The most texts being computed that others can wait for; beyond that, callers compute for
/// themselves.
const MAX_FLIGHTS: usize = 4096;

/// The most callers that wait for one text; beyond that, callers compute for themselves.
const MAX_FOLLOWERS: usize = 4096;

type Answer = Result<Embedded, EmbedError>;
type FlightKey = (Origin, CacheKey);
type Tier = Arc<MemoryTier<Embedded>>;

/// Who has cached vectors in common, and the memory for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caches {
    /// Everybody, in so many bytes; 0 caches nothing.
    Shared(u64),
    /// Each of these tenants has its own, in so many bytes. Nothing is cached for others.
    OfTenants(BTreeMap<String, u64>),
}

enum Tiers {
    Shared(Tier),
    OfTenants { tiers: HashMap<String, Tier>, of_others: Tier },
}

impl Tiers {
    fn new(caches: Caches) -> Self {
        let tier = |bytes| Arc::new(MemoryTier::new(bytes));
        match caches {
            Caches::Shared(bytes) => Self::Shared(tier(bytes)),
            Caches::OfTenants(bytes) => Self::OfTenants {
                tiers: bytes.into_iter().map(|(tenant, bytes)| (tenant, tier(bytes))).collect(),
                of_others: tier(0),
            },
        }
    }

    fn of(&self, origin: &Origin) -> &Tier {
        match self {
            Self::Shared(tier) => tier,
            Self::OfTenants { tiers, of_others } => tiers.get(origin.tenant()).unwrap_or(of_others),
        }
    }
}

/// An [`Embedder`] that asks `E` only for vectors that it does not have.
pub struct Cached<E> {
    inner: E,
    prefix: KeyPrefix,
    tiers: Tiers,
    flights: SingleFlight<FlightKey, Answer>,
}

/// Where the vector of a text comes from.
enum Source {
    Known(Embedded),
    /// Computed by this call, and shared with followers unless too many texts are being
    /// computed.
    Computed(CacheKey, Option<Leader<FlightKey, Answer>>),
    Followed(Follower<Answer>),
}

/// How a call gets the vector of a text.
enum Awaited {
    Known(Embedded),
    /// Computed for this call alone.
    Own(CacheKey, Pending),
    /// Computed for all calls that follow, of which this is one.
    Shared(Follower<Answer>),
}

impl<E: Submit> Cached<E> {
    /// Puts `caches` in front of `inner`.
    #[must_use]
    pub fn new(inner: E, caches: Caches) -> Self {
        Self {
            prefix: KeyPrefix::new(&["embedding", inner.model_digest()]),
            inner,
            tiers: Tiers::new(caches),
            flights: SingleFlight::new(MAX_FLIGHTS, MAX_FOLLOWERS),
        }
    }

    /// The embedder behind the tier.
    #[must_use]
    pub fn inner(&self) -> &E {
        &self.inner
    }

    fn source_of(&self, text: &str, origin: &Origin) -> Source {
        let key = KeyBuilder::new(&self.prefix).part(text.as_bytes()).finish();
        let vectors = self.tiers.of(origin);
        let known = || vectors.get(&key).map(|entry| Source::Known(entry.value.clone()));
        let join = || match self.flights.join((origin.clone(), key)) {
            // Since the lookup above, another leader may have stored the vector and finished.
            Flight::Lead(leader) => known().unwrap_or(Source::Computed(key, Some(leader))),
            Flight::Follow(follower) => Source::Followed(follower),
            Flight::Crowded => Source::Computed(key, None),
        };
        known().unwrap_or_else(join)
    }

    /// Resolves distinct texts: each from the tier, from another call, or by computing it.
    async fn embed_once(
        &self,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Embedded>, EmbedError> {
        let mut awaited: Vec<Option<Awaited>> = Vec::with_capacity(texts.len());
        let mut computed = Vec::new();
        for (place, text) in texts.iter().enumerate() {
            awaited.push(match self.source_of(text, origin) {
                Source::Known(known) => Some(Awaited::Known(known)),
                Source::Followed(follower) => Some(Awaited::Shared(follower)),
                Source::Computed(key, leader) => {
                    computed.push((place, key, leader));
                    None
                }
            });
        }
        let to_compute: Vec<_> =
            computed.iter().map(|(place, ..)| Arc::clone(&texts[*place])).collect();
        // If they are refused, the leaders are dropped, and their followers try for themselves.
        let pending = self.inner.submit(&to_compute, origin).map_err(|error| {
            error.reindexed(|index| computed.get(index).map_or(index, |(place, ..)| *place))
        })?;
        for ((place, key, leader), pending) in computed.into_iter().zip(pending) {
            awaited[place] = Some(match leader {
                Some(leader) => {
                    let own = leader.follow();
                    let vectors = Arc::clone(self.tiers.of(origin));
                    tokio::spawn(lead(leader, pending, vectors, key));
                    Awaited::Shared(own)
                }
                None => Awaited::Own(key, pending),
            });
        }
        let awaited = awaited.into_iter().zip(texts).enumerate();
        // Ends with the first error, and then nobody waits for the other texts.
        try_join_all(awaited.map(async |(place, (awaited, text))| {
            let embedded = self.get(awaited, text, origin).await;
            embedded.map_err(|error| error.reindexed(|_| place))
        }))
        .await
    }

    async fn get(&self, awaited: Option<Awaited>, text: &Arc<str>, origin: &Origin) -> Answer {
        match awaited {
            Some(Awaited::Known(known)) => Ok(known),
            Some(Awaited::Own(key, pending)) => keep(self.tiers.of(origin), key, pending.await),
            Some(Awaited::Shared(follower)) => match follower.wait().await {
                Ok(answer) => answer,
                // The leader was refused, or all others had left it just before. This text is tried
                // alone.
                Err(_) => alone(&self.inner, text, origin).await,
            },
            None => Err(EmbedError::Failed("a text was not embedded".into())),
        }
    }
}

/// Computes a text for as long as anybody follows. A batch that has begun is not interrupted: its
/// vector is dropped.
async fn lead(leader: Leader<FlightKey, Answer>, pending: Pending, tier: Tier, key: CacheKey) {
    let answer = select! {
        biased;
        answer = pending => answer,
        () = leader.unfollowed() => return,
    };
    leader.finish(keep(&tier, key, answer));
}

/// Stores the vector, if there is one.
fn keep(tier: &Tier, key: CacheKey, answer: Answer) -> Answer {
    if let Ok(embedded) = &answer {
        // A tier too small for one vector stores nothing; that only costs time.
        let _ = tier.insert(key, entry(embedded.clone()));
    }
    answer
}

async fn alone(inner: &impl Submit, text: &Arc<str>, origin: &Origin) -> Answer {
    let pending = inner.submit(std::slice::from_ref(text), origin)?.pop();
    pending.ok_or_else(|| EmbedError::Failed("a text was not embedded".into()))?.await
}

/// A vector depends only on its key, so it has no read set and never expires.
fn entry(embedded: Embedded) -> Entry<Embedded> {
    let bytes = size_of::<usize>() + size_of_val(&*embedded.vector.0);
    Entry {
        value: embedded,
        as_of: Commit::ZERO,
        reads: Reads::default(),
        depends_on: Dependencies::default(),
        stored_at: Moment::now(),
        compute: Duration::ZERO,
        lifetime: Lifetime::of(Duration::MAX),
        weight_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
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
impl<E: Submit> Embedder for Cached<E> {
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

    fn max_bytes(&self) -> usize {
        self.inner.max_bytes()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    async fn embed(
        &self,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Embedded>, EmbedError> {
        // Hashing a megabyte, twice, takes longer than answering.
        self.check_bytes(texts)?;
        let (distinct, places) = distinct(texts);
        let embedded = match origin.lane {
            Lane::Pipeline | Lane::Api => self.embed_once(&distinct, origin).await,
            Lane::CatchUp => self.inner.embed(&distinct, origin).await,
        };
        let first = |distinct| places.iter().position(|place| *place == distinct);
        let embedded =
            embedded.map_err(|error| error.reindexed(|index| first(index).unwrap_or(index)))?;
        Ok(places.into_iter().map(|place| embedded[place].clone()).collect())
    }
}

#[cfg(test)]
mod tests;
