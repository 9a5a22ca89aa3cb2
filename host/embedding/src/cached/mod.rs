//! The tiers in front of a model: a text whose vector is in the memory tier, or behind it in the
//! [`shared`] one, is not embedded again, and a text that several calls of one origin ask for at the same
//! time is computed once.
//!
//! A memory tier belongs to one model, and its keys are those of the texts. Vectors never expire in
//! memory, because another model has other tiers; they are only evicted. The catch-up bypasses both
//! tiers: documents would evict the questions that people repeat, and the index has their vectors.
//!
//! Unless its operator has them share one ([`Caches`]), each tenant has a tier of its own: from one in
//! common, the time of an answer would tell a tenant what texts another has embedded.
//!
//! A text is computed for as long as a call waits for it, whichever asked first. Calls of different
//! origins do not wait for each other's texts: one would wait in the other's turn.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::select;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use weir_cache::single_flight::{Flight, Follower, SingleFlight};

use self::lead::{FlightKey, Kept, Led, Told};
use self::shared::OfModel;
pub use self::shared::SharedVectors;
pub use self::tiers::Caches;
use self::tiers::Tiers;
pub use self::uses::Counts;
use crate::{Answer, EmbedError, Embedded, Embedder, InMemory, Lane, Origin, Submit, Texts};

mod lead;
mod shared;
mod tiers;
mod uses;

/// The most texts being computed that others can wait for; beyond that, callers compute for
/// themselves.
const MAX_FLIGHTS: usize = 4096;

/// The most callers that wait for one text; beyond that, callers compute for themselves.
const MAX_FOLLOWERS: usize = 4096;

/// An [`Embedder`] that asks `E` only for vectors that it does not have.
pub struct Cached<E> {
    inner: Arc<E>,
    tiers: Tiers,
    shared: OfModel,
    flights: SingleFlight<FlightKey, Answer>,
}

/// Where a call gets the vectors of its distinct texts from.
struct Sources {
    /// Those that are known, by place.
    known: Vec<Option<Embedded>>,
    /// Led by this call.
    led: Vec<Led>,
    /// Led by other calls, by place.
    followed: Vec<(usize, Follower<Answer>)>,
}

impl<E: Submit> Cached<E> {
    /// Puts `caches` in front of `inner`, and behind them what of `shared` is the model's.
    #[must_use]
    pub fn new(inner: E, caches: Caches, shared: Arc<SharedVectors>) -> Self {
        Self {
            shared: OfModel::new(shared, &inner),
            inner: Arc::new(inner),
            tiers: Tiers::new(caches),
            flights: SingleFlight::new(MAX_FLIGHTS, MAX_FOLLOWERS),
        }
    }

    /// The embedder behind the tier.
    #[must_use]
    pub fn inner(&self) -> &E {
        &self.inner
    }

    fn sources_of(&self, texts: &Texts, origin: &Origin) -> Sources {
        let (tier, keys) = (self.tiers.of(origin), texts.keys());
        let mut known: Vec<_> = keys.iter().map(|key| tier.get(key)).collect();
        let missing: Vec<_> = (0..keys.len()).filter(|&place| known[place].is_none()).collect();
        let flights = missing.iter().map(|&place| (origin.clone(), keys[place]));
        let flights = self.flights.join_all(flights);
        let (mut led, mut followed) = (Vec::new(), Vec::new());
        for (place, flight) in missing.into_iter().zip(flights) {
            let key = keys[place];
            match flight {
                // Since the lookup above, another leader may have stored the vector and finished.
                Flight::Lead(leader) => match tier.get_again(&key) {
                    Some(stored) => {
                        leader.finish(Ok(stored.clone()));
                        known[place] = Some(stored);
                    }
                    None => led.push(Led { place, key, leader: Some(leader) }),
                },
                Flight::Follow(follower) => followed.push((place, follower)),
                Flight::Crowded => led.push(Led { place, key, leader: None }),
            }
        }
        let hits = known.iter().flatten().count();
        self.shared.counts_of(origin).looked_up(keys.len(), hits, followed.len());
        Sources { known, led, followed }
    }

    /// Has the texts answered by a task of their own, which stops with the last call that waits for
    /// them.
    fn lead(&self, led: Vec<Led>, texts: &Texts, origin: &Origin) -> UnboundedReceiver<Told> {
        let (call, told) = unbounded_channel();
        if !led.is_empty() {
            let (inner, texts) = (Arc::clone(&self.inner), texts.distinct().to_vec());
            let memory = self.tiers.of(origin).clone();
            let kept = Kept { memory, shared: self.shared.of(origin) };
            tokio::spawn(lead::lead(inner, origin.clone(), texts, led, kept, call));
        }
        told
    }

    /// Resolves distinct texts: each from memory, from another call, or by leading it. Ends with the
    /// first error, and then this call waits for no other text.
    async fn embed_distinct(
        &self,
        texts: &Texts,
        origin: &Origin,
    ) -> Result<Vec<Embedded>, EmbedError> {
        let Sources { known: mut embedded, led, followed } = self.sources_of(texts, origin);
        let mut computed = self.lead(led, texts, origin);
        let followed = followed.into_iter().map(async |(place, follower)| {
            let answer = match follower.wait().await {
                Ok(answer) => answer,
                // The leader was refused, or all others had left it just before. This text is tried
                // alone.
                Err(_) => alone(&*self.inner, &texts.distinct()[place], origin).await,
            };
            answer.map(|embedded| (place, embedded)).map_err(|error| error.reindexed(|_| place))
        });
        let mut followed: FuturesUnordered<_> = followed.collect();
        loop {
            let (place, one) = select! {
                Some(told) = computed.recv() => told?,
                Some(told) = followed.next() => told?,
                else => break,
            };
            embedded[place] = Some(one);
        }
        embedded.into_iter().collect::<Option<_>>().ok_or_else(not_embedded)
    }
}

async fn alone(inner: &impl Submit, text: &Arc<str>, origin: &Origin) -> Answer {
    let mut pending = inner.submit(std::slice::from_ref(text), origin)?;
    pending.next().await.map_or_else(|| Err(not_embedded()), |(_, answer)| answer)
}

fn not_embedded() -> EmbedError {
    EmbedError::Failed("a text was not embedded".into())
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

    fn in_memory(&self, tenant: &str) -> Option<InMemory> {
        Some(self.tiers.of_tenant(tenant).in_memory(self.tiers.are_shared()))
    }

    async fn embed(&self, texts: &Texts, origin: &Origin) -> Result<Vec<Embedded>, EmbedError> {
        if origin.lane == Lane::CatchUp {
            return self.inner.embed(texts, origin).await;
        }
        self.check_bytes(texts)?;
        let embedded = self.embed_distinct(texts, origin).await;
        let embedded =
            embedded.map_err(|error| error.reindexed(|distinct| texts.first(distinct)))?;
        Ok(texts.spread(embedded))
    }
}

#[cfg(test)]
mod tests;
