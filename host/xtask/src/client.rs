//! A client of Weir's HTTP API: collections, documents and questions.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::{Instant, sleep};

/// A client of one server.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// Begins a client of servers without TLS. reqwest wants cryptography all the same, because `weir`'s own client
/// speaks TLS, and the system's authorities, which a machine may not have.
pub(crate) fn http() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([])
}

/// The answer of the `search` pipeline.
#[derive(Deserialize)]
pub(crate) struct Found {
    pub(crate) results: Vec<Hit>,
}

/// A document that was found, with its best chunk.
#[derive(Deserialize)]
pub(crate) struct Hit {
    pub(crate) document_id: String,
    pub(crate) score: f64,
    pub(crate) text: String,
}

/// An answer, and the headers that say how the server produced it.
pub(crate) struct Answer {
    pub(crate) found: Found,
    /// The `Cache-Status` header (RFC 9211), or empty.
    pub(crate) cache_status: String,
    /// The `X-Response-Time` header, or empty.
    pub(crate) response_time: String,
}

impl Client {
    /// A client of the server at `base`, such as `http://127.0.0.1:8080`.
    pub(crate) fn new(base: &str) -> Result<Self> {
        // Longer than the server takes to embed a batch of documents on a busy machine.
        let http = http().timeout(Duration::from_secs(600)).build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned() })
    }

    /// Sends a question to the `search` pipeline.
    pub(crate) async fn search(&self, question: &Value) -> Result<Answer> {
        let url = format!("{}/v1/pipelines/search", self.base);
        let response = accepted(self.http.post(url).json(question)).await?;
        let header = |name| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (cache_status, response_time) = (header("cache-status"), header("x-response-time"));
        let found = response.json().await.context("reading the answer of `search`")?;
        Ok(Answer { found, cache_status, response_time })
    }

    /// Sends a question to any pipeline that answers with JSON.
    pub(crate) async fn ask(&self, pipeline: &str, question: &Value) -> Result<Value> {
        let url = format!("{}/v1/pipelines/{pipeline}", self.base);
        let response = accepted(self.http.post(url).json(question)).await?;
        response.json().await.with_context(|| format!("reading the answer of `{pipeline}`"))
    }

    /// Whether a collection with this name exists.
    pub(crate) async fn has_collection(&self, collection: &str) -> Result<bool> {
        let response = self.http.get(self.collection(collection)).send().await?;
        Ok(response.status() == StatusCode::OK)
    }

    /// Creates a collection if it does not exist.
    pub(crate) async fn create_collection(&self, collection: &str) -> Result<()> {
        accepted(self.http.put(self.collection(collection))).await?;
        Ok(())
    }

    /// Ingests a batch, and returns once it is searchable.
    pub(crate) async fn ingest(&self, collection: &str, ndjson: String) -> Result<()> {
        let url = format!("{}/documents", self.collection(collection));
        let request = self.http.post(url).header("content-type", "application/x-ndjson");
        let response = accepted(request.body(ndjson)).await?;
        if response.status() == StatusCode::ACCEPTED {
            bail!(
                "a batch was stored but did not become searchable in time: raise \
                 ingest.searchable_timeout_ms in the server's configuration"
            );
        }
        Ok(())
    }

    fn collection(&self, collection: &str) -> String {
        format!("{}/v1/collections/{collection}", self.base)
    }
}

/// Waits until `child` accepts connections at `address`.
pub(crate) async fn connectable(address: SocketAddr, child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).await.is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        ensure!(Instant::now() < deadline, "nothing listens on {address}");
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Sends a request. An answer without a success status is an error with its problem document.
pub(crate) async fn accepted(request: RequestBuilder) -> Result<Response> {
    let response = request.send().await.context("sending a request to the server")?;
    if !response.status().is_success() {
        let (status, url) = (response.status(), response.url().clone());
        bail!("{url} answered {status}: {}", response.text().await.unwrap_or_default());
    }
    Ok(response)
}

/// Whether a `Cache-Status` header (RFC 9211) from a single cache reports a hit.
pub(crate) fn is_cache_hit(cache_status: &str) -> bool {
    cache_status.split(';').any(|part| part.trim() == "hit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_hit_is_a_hit() {
        for (cache_status, expected) in [
            ("weir; hit; ttl=299", true),
            ("weir;hit", true),
            ("weir; fwd=miss; stored", false),
            ("weir; fwd=uri-miss; detail=hit-for-miss", false),
            ("", false),
        ] {
            assert_eq!(is_cache_hit(cache_status), expected, "{cache_status}");
        }
    }
}
