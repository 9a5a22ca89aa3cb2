//! Requests to the admin listener of a server. Out of scope: what they ask for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{RequestBuilder, Response, header};
use serde_json::Value;

use crate::client::{refusal, unreachable};
use crate::trust;

/// An invalidation may have to wait for the search index to hear of it, and a plugin for its compilation.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);

/// The server, and the right to administer it.
pub struct Server {
    /// Where its admin listener is, such as `http://127.0.0.1:8081`.
    pub url: String,
    /// The administrator's token.
    pub token: String,
    /// The authorities that its certificate may be from, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// A client of the admin listener.
pub(crate) struct Admin {
    http: reqwest::Client,
    url: String,
}

impl Admin {
    pub(crate) fn new(server: &Server) -> anyhow::Result<Self> {
        let mut token = header::HeaderValue::from_str(&format!("Bearer {}", server.token))
            .context("the admin token has characters that an HTTP header cannot carry")?;
        token.set_sensitive(true);
        let http = trust::builder(&server.url, server.ca_file.as_deref())?
            .default_headers(header::HeaderMap::from_iter([(header::AUTHORIZATION, token)]))
            .read_timeout(REQUEST_TIMEOUT)
            .build()
            .context("the HTTP client cannot start")?;
        Ok(Self { http, url: server.url.trim_end_matches('/').to_owned() })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Gets JSON.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(self.http.get(self.at(path))).await?;
        answer.json().await.context("the answer is not JSON")
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: String) -> anyhow::Result<Response> {
        let request = self.http.post(self.at(path));
        self.send(request.header(header::CONTENT_TYPE, "application/json").body(body)).await
    }

    /// Begins another request.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.at(path))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses it.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let answer = request.send().await;
        let answer = answer.map_err(|error| unreachable(error, &self.url))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        anyhow::bail!(refusal(answer).await)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}
