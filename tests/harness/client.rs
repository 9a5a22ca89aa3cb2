//! A client of one server, and the responses that it gets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, ClientBuilder, Method, RequestBuilder};
use serde_json::{Value, json};

/// Longer than any request in a test.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// A client of one server. Its clones share connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self::built(address, builder())
    }

    /// A client that speaks HTTP/2 from the start, without an upgrade.
    pub(crate) fn http2(address: SocketAddr) -> Self {
        Self::built(address, builder().http2_prior_knowledge())
    }

    /// A client that keeps at most one connection while it asks nothing.
    pub(crate) fn keeping_one(address: SocketAddr) -> Self {
        Self::built(address, builder().pool_max_idle_per_host(1))
    }

    /// A client that speaks TLS, and trusts the authorities in the file and no others.
    pub(crate) fn trusting(address: SocketAddr, authorities: &Path) -> Self {
        Self::of("https", address, trusting(authorities))
    }

    /// The same over HTTP/1.1, with a connection of its own for each request.
    pub(crate) fn trusting_anew(address: SocketAddr, authorities: &Path) -> Self {
        let builder = trusting(authorities).http1_only().pool_max_idle_per_host(0);
        Self::of("https", address, builder)
    }

    fn of(scheme: &str, address: SocketAddr, builder: ClientBuilder) -> Self {
        let http = builder.timeout(REQUEST_TIMEOUT).no_proxy().build().unwrap();
        Self { http, base: format!("{scheme}://{address}") }
    }

    fn built(address: SocketAddr, builder: ClientBuilder) -> Self {
        Self::of("http", address, builder)
    }

    /// `http://ADDRESS`.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// A request that the test completes and [`Answer::to`] sends.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path)).await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        Answer::to(self.request("PUT", path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.request("DELETE", path)).await
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, "application/json", body.to_string()).await
    }

    /// Posts bytes with a content type.
    pub(crate) async fn post_bytes(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.request("POST", path).header("content-type", content_type);
        Answer::to(request.body(body)).await
    }

    /// Creates a collection.
    pub(crate) async fn create(&self, collection: &str) {
        self.put(&format!("/v1/collections/{collection}")).await.assert_status(201);
    }

    /// Creates a collection on a server that does not wait until writes are searchable.
    pub(crate) async fn create_at_once(&self, collection: &str) -> Answer {
        let answer = self.put(&format!("/v1/collections/{collection}")).await;
        assert!([201, 202].contains(&answer.status), "{answer:?}");
        answer
    }

    /// Stores documents of `{"id","text","metadata"}`, and expects them to be searchable.
    pub(crate) async fn ingest(&self, collection: &str, documents: &[Value]) -> Answer {
        let path = format!("/v1/collections/{collection}/documents");
        let answer = self.post(&path, &json!({ "documents": documents })).await;
        answer.assert_status(200);
        answer
    }

    /// Sends `request` to the pipeline `search`, and expects status 200.
    pub(crate) async fn search(&self, request: &Value) -> Answer {
        let answer = self.post("/v1/pipelines/search", request).await;
        answer.assert_status(200);
        answer
    }

    /// The number of documents in a collection.
    pub(crate) async fn count(&self, collection: &str) -> u64 {
        let answer = self.get(&format!("/v1/collections/{collection}")).await;
        answer.assert_status(200);
        answer.json()["documents"].as_u64().unwrap()
    }

    /// The current value of a metric, summed over all series with these labels; 0 if there
    /// are none.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.get("/metrics").await.text();
        let of_series = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, given) = series.split_once('{').unwrap_or((series, ""));
            let has = |(key, value): &(&str, &str)| given.contains(&format!("{key}=\"{value}\""));
            (found == name && labels.iter().all(has)).then(|| value.parse::<f64>().unwrap())
        };
        text.lines().filter(|line| !line.starts_with('#')).filter_map(of_series).sum()
    }
}

/// Begins a client that trusts nobody. reqwest needs cryptography also for clients without TLS.
fn builder() -> ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().tls_certs_only([])
}

fn trusting(authorities: &Path) -> ClientBuilder {
    let pem = fs::read(authorities).unwrap();
    builder().tls_certs_only(Certificate::from_pem_bundle(&pem).unwrap())
}

/// A document in the form that requests take.
pub(crate) fn document(id: &str, text: &str) -> Value {
    json!({ "id": id, "text": text })
}

/// A complete response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Sends `request` and reads the whole answer.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        Self::try_to(request).await.unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    /// The same with a server that may be gone.
    pub(crate) async fn try_to(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await? })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A header; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The position at which the answer is exact, or the position of the write.
    #[track_caller]
    pub(crate) fn position(&self) -> u64 {
        let (position, _) = self.stated();
        position
    }

    /// The position with its chain value.
    #[track_caller]
    pub(crate) fn stated(&self) -> (u64, String) {
        let stated = self.header("weir-position").split_once(";chain=");
        let parsed = stated.and_then(|(at, chain)| Some((at.parse().ok()?, chain.to_owned())));
        parsed.unwrap_or_else(|| panic!("no position: {self:?}"))
    }

    /// The results of `search`.
    #[track_caller]
    pub(crate) fn results(&self) -> Vec<Value> {
        self.json()["results"].as_array().unwrap_or_else(|| panic!("no results: {self:?}")).clone()
    }

    /// The ids of the documents that `search` found, best first.
    #[track_caller]
    pub(crate) fn ids(&self) -> Vec<String> {
        let id = |hit: &Value| hit["document_id"].as_str().unwrap().to_owned();
        self.results().iter().map(id).collect()
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
    }

    /// Asserts that this is a complete problem document with this status and code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["type"], format!("urn:weir:problem:{code}"), "{problem}");
        let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
        assert!(!text("title").is_empty() && text("detail").len() > 10, "{problem}");
        assert_eq!(text("request_id"), self.header("x-request-id"), "{problem}");
        assert!(!text("request_id").is_empty(), "{problem}");
    }
}
