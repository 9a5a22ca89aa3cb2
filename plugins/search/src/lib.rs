//! A pipeline that answers a question with the best documents of a collection.
//!
//! Request: `{"query", "collection", "mode", "limit", "offset", "filter", "minimum_score"}`,
//! of which only `query` is required (`request` and `filter` define the grammar). Answer:
//! `{"results": [{"document_id", "score", "text", "start", "end", "metadata"}], "mode"}`, with
//! one result per document, best first. The host writes `results`.
//!
//! [`answer`] is the whole pipeline over a trait, [`Host`], so that tests and benchmarks run the
//! same code natively; `component` implements the trait with the host's real calls. Out of scope:
//! what a search means, which the host defines.

#[cfg(target_arch = "wasm32")]
mod component;
mod describe;
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
    /// The hits of a search.
    type Hits;

    /// A setting of the deployment.
    fn setting(&self, name: &str) -> Option<String>;

    /// The vector of `text` from the named model; `None` is the model that
    /// indexes the collections.
    fn embed(
        &self,
        model: Option<&str>,
        text: &str,
    ) -> impl Future<Output = Result<Self::Embedding, EmbedError>>;

    /// Searches the named collection.
    fn search(
        &self,
        collection: &str,
        query: Query<'_, Self::Embedding>,
    ) -> impl Future<Output = Result<Self::Hits, VectorError>>;
}

/// A query like the WIT's, with any host's embeddings.
pub struct Query<'a, E> {
    /// The vector for dense search.
    pub nearest: Option<&'a E>,
    /// The text for keyword search.
    pub text: Option<String>,
    /// Which documents can be found.
    pub filter: Option<Filter>,
    /// Hits with a lower score are left out.
    pub minimum_score: Option<f32>,
    /// What a hit is.
    pub unit: Unit,
    /// The most hits to return.
    pub limit: u32,
    /// How many of the best hits to skip.
    pub offset: u32,
}

/// Answers the request with this JSON `body`.
pub async fn answer<H: Host>(host: &H, body: &[u8]) -> Result<(H::Hits, Mode), Failure> {
    let defaults = Defaults::from_settings(|name| host.setting(name))?;
    let request = SearchRequest::parse(body, &defaults)?;
    let embedding = match request.mode {
        Mode::Keyword => None,
        Mode::Dense | Mode::Hybrid => {
            Some(host.embed(defaults.model.as_deref(), &request.query).await?)
        }
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use weir_sdk::FailureKind;

    use super::*;

    /// Records its calls. The embedding of a text is the text.
    #[derive(Default)]
    struct Notebook(RefCell<Vec<String>>);

    impl Host for Notebook {
        type Embedding = String;
        type Hits = usize;

        fn setting(&self, name: &str) -> Option<String> {
            (name == "collection").then(|| "books".into())
        }

        async fn embed(&self, model: Option<&str>, text: &str) -> Result<String, EmbedError> {
            self.0.borrow_mut().push(format!("embed {model:?} {text:?}"));
            match text {
                "too long" => Err(EmbedError::TooLong { index: 0, tokens: 300, max_tokens: 256 }),
                text => Ok(text.into()),
            }
        }

        async fn search(
            &self,
            collection: &str,
            query: Query<'_, String>,
        ) -> Result<usize, VectorError> {
            let Query { nearest, text, limit, offset, .. } = query;
            self.0
                .borrow_mut()
                .push(format!("search {collection} {nearest:?} {text:?} {limit} {offset}"));
            match collection {
                "books" => Ok(3),
                other => Err(VectorError::UnknownCollection(other.into())),
            }
        }
    }

    fn ask(host: &Notebook, body: &str) -> Result<(usize, Mode), Failure> {
        let mut answer = pin!(answer(host, body.as_bytes()));
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("the notebook never waits"),
        }
    }

    #[test]
    fn each_mode_makes_its_own_calls() {
        let embed = r#"embed None "q""#;
        for (mode, calls) in [
            (Mode::Dense, vec![embed, r#"search books Some("q") None 10 0"#]),
            (Mode::Keyword, vec![r#"search books None Some("q") 10 0"#]),
            (Mode::Hybrid, vec![embed, r#"search books Some("q") Some("q") 10 0"#]),
        ] {
            let host = Notebook::default();
            let body = format!(r#"{{"query":"q","mode":"{}"}}"#, mode.as_str());
            assert!(ask(&host, &body).is_ok_and(|answer| answer == (3, mode)));
            assert_eq!(host.0.into_inner(), calls);
        }
    }

    #[test]
    fn a_refused_request_asks_the_host_for_nothing() {
        let host = Notebook::default();
        let failure = ask(&host, "{}").err();
        assert_eq!(failure.map(|failure| failure.kind()), Some(FailureKind::InvalidRequest));
        assert!(host.0.into_inner().is_empty());
    }

    #[test]
    fn errors_of_the_host_reach_the_client() {
        let host = Notebook::default();
        let unknown = ask(&host, r#"{"query":"q","collection":"songs"}"#).err();
        let told = |failure: &Failure| (failure.kind(), failure.code().to_owned());
        let expected = (FailureKind::NotFound, "unknown-collection".to_owned());
        assert_eq!(unknown.as_ref().map(told), Some(expected));
        let long = ask(&host, r#"{"query":"too long"}"#).err();
        let expected = (FailureKind::InvalidRequest, "text-too-long".to_owned());
        assert_eq!(long.as_ref().map(told), Some(expected));
    }
}
