//! A pipeline that answers a question with the best documents of a collection.
//!
//! Request: `{"query", "collection", "mode", "limit", "offset", "filter", "minimum_score"}`,
//! of which only `query` is required (`request` and `filter` hold the grammar). Answer:
//! `{"results": [{"document_id", "score", "text", "start", "end", "metadata"}], "mode"}`, one
//! entry a document, best first, whose `results` the host writes.
//!
//! [`answer`] is the whole of it over a trait, [`Host`], so that tests and benchmarks run the
//! same code natively; `component` is the trait over the host's real calls. Left out: what a
//! search means, which is the host's.

#[cfg(target_arch = "wasm32")]
mod component;
pub mod filter;
pub mod request;

use std::future::Future;

use weir_sdk::Failure;
use weir_sdk::collections::{Filter, Unit, VectorError};
use weir_sdk::embedding::EmbedError;

pub use request::{Defaults, Mode, SearchRequest};

/// The calls to the host that a search makes.
pub trait Host {
    /// A text's vector.
    type Embedding;
    /// What a search found.
    type Hits;

    /// A setting of the deployment.
    fn setting(&self, name: &str) -> Option<String>;

    /// The vector of `text`, by the model of that name; the empty name is the host's own.
    fn embed(
        &self,
        model: &str,
        text: &str,
    ) -> impl Future<Output = Result<Self::Embedding, EmbedError>>;

    /// Asks the collection of that name.
    fn search(
        &self,
        collection: &str,
        query: Query<'_, Self::Embedding>,
    ) -> impl Future<Output = Result<Self::Hits, VectorError>>;
}

/// A query as the WIT's, over any host's embeddings.
pub struct Query<'a, E> {
    /// Dense evidence.
    pub nearest: Option<&'a E>,
    /// Keyword evidence.
    pub text: Option<String>,
    /// Which documents may be found.
    pub filter: Option<Filter>,
    /// Hits below it are left out.
    pub minimum_score: Option<f32>,
    /// What a hit is.
    pub unit: Unit,
    /// Most hits answered.
    pub limit: u32,
    /// Best hits passed over first.
    pub offset: u32,
}

/// Answers the request with this JSON `body`.
pub async fn answer<H: Host>(host: &H, body: &[u8]) -> Result<(H::Hits, Mode), Failure> {
    let defaults = Defaults::from_settings(|name| host.setting(name))?;
    let request = SearchRequest::parse(body, &defaults)?;
    let embedding = match request.mode {
        Mode::Keyword => None,
        Mode::Dense | Mode::Hybrid => Some(host.embed(&defaults.model, &request.query).await?),
    };
    let query = Query {
        nearest: embedding.as_ref(),
        text: (request.mode != Mode::Dense).then_some(request.query),
        filter: request.filter,
        minimum_score: request.minimum_score,
        unit: Unit::Document,
        limit: request.limit,
        offset: request.offset,
    };
    let hits = host.search(&request.collection, query).await?;
    Ok((hits, request.mode))
}
