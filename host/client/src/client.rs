//! The HTTP client of `weir ingest`: requests with retries, and readable refusals.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use crate::trust;

/// How often a request is attempted before it fails.
const MAX_ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// Enough for a batch to wait its turn, be split and stored, and become searchable.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait at the end for durable documents to become searchable.
const SEARCHABLE_TIMEOUT: Duration = Duration::from_secs(600);
const SEARCHABLE_POLL: Duration = Duration::from_millis(250);

/// A server's collection.
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    collection: String,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Written {
    /// The position of the write.
    pub(super) position: u64,
    /// Whether the write is already searchable.
    pub(super) searchable: bool,
}

impl Client {
    pub(super) fn new(
        url: &str,
        ca_file: Option<&Path>,
        api_key: Option<&str>,
        collection: &str,
    ) -> anyhow::Result<Self> {
        let mut headers = header::HeaderMap::new();
        if let Some(key) = api_key {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {key}"))
                .context("the API key has characters that an HTTP header cannot carry")?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let http = trust::builder(url, ca_file)?
            .default_headers(headers)
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .context("the HTTP client cannot start")?;
        let server = url.trim_end_matches('/').to_owned();
        let collection = format!("{server}/v1/collections/{collection}");
        Ok(Self { http, server, collection })
    }

    /// Creates the collection if it does not exist.
    pub(super) async fn create_collection(&self) -> anyhow::Result<()> {
        self.send(|| self.http.put(&self.collection)).await.map(drop)
    }

    /// Stores a batch of NDJSON. `key` identifies this batch of this run, so a retry after a
    /// lost answer does not write twice.
    pub(super) async fn put(&self, ndjson: String, key: &str) -> anyhow::Result<Written> {
        let url = format!("{}/documents", self.collection);
        let body = bytes::Bytes::from(ndjson);
        let request = || {
            self.http
                .post(&url)
                .header(header::CONTENT_TYPE, "application/x-ndjson")
                .header("idempotency-key", key)
                .body(body.clone())
        };
        let response = self.send(request).await?;
        response.json().await.context("the server's answer cannot be read")
    }

    /// Waits until the write at `position` is searchable.
    pub(super) async fn searchable(&self, position: u64) -> anyhow::Result<()> {
        #[derive(Deserialize)]
        struct Readiness {
            derived: Derived,
        }
        #[derive(Deserialize)]
        struct Derived {
            position: u64,
        }
        let url = format!("{}/health/readiness", self.server);
        let deadline = Instant::now() + SEARCHABLE_TIMEOUT;
        while Instant::now() < deadline {
            // "Not ready" is also an answer: it says how far the server is.
            let answer = self.http.get(&url).send().await?.json::<Readiness>().await;
            if answer.is_ok_and(|readiness| readiness.derived.position >= position) {
                return Ok(());
            }
            sleep(SEARCHABLE_POLL).await;
        }
        bail!("everything is stored but did not become searchable within {SEARCHABLE_TIMEOUT:?}")
    }

    /// Sends the request until the server accepts or refuses it, or the attempts run out.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Response> {
        let mut attempt = 1;
        loop {
            let answer = request().send().await;
            if attempt < MAX_ATTEMPTS
                && let Some(pause) = retry_after(&answer, attempt)
            {
                attempt += 1;
                sleep(pause).await;
                continue;
            }
            let response = answer.map_err(|error| unreachable(error, &self.server))?;
            if response.status().is_success() {
                return Ok(response);
            }
            bail!(refusal(response).await);
        }
    }
}

/// Why no answer came from `server`.
pub(super) fn unreachable(error: reqwest::Error, server: &str) -> anyhow::Error {
    let is_connect = error.is_connect();
    if let Some(advice) = trust::advice(&error) {
        return anyhow!(error).context(format!("{server} is not spoken to: {advice}"));
    }
    let error = anyhow!(error);
    if is_connect {
        error.context(format!("no server answers at {server}: is it running?"))
    } else {
        error.context(format!("{server} did not answer"))
    }
}

/// How long to wait before another attempt; `None` if another one would not help.
fn retry_after(answer: &reqwest::Result<Response>, attempt: u32) -> Option<Duration> {
    let backoff = (FIRST_PAUSE * 2_u32.saturating_pow(attempt - 1)).min(MAX_PAUSE);
    match answer {
        // Nothing listens there: report it after one more attempt.
        Err(error) if error.is_connect() => (attempt == 1).then_some(backoff),
        Err(_) => Some(backoff),
        Ok(response) => {
            let status = response.status();
            let is_busy =
                matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let asked = response.headers().get(header::RETRY_AFTER);
            let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok());
            let asked =
                asked.map_or(backoff, |seconds| Duration::from_secs(seconds).min(MAX_PAUSE));
            is_busy.then_some(asked.max(backoff))
        }
    }
}

/// The refusal as the server describes it.
pub(super) async fn refusal(response: Response) -> String {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
        code: String,
    }
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(Problem { detail, code }) => format!("{status}: {detail} ({code})"),
        Err(_) => format!("the server answered {status}"),
    }
}
