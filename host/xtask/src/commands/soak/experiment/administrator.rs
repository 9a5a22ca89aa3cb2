//! Somebody who pushes plugins to a server and deploys them.

use anyhow::{Context, Result};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use super::target::TIMEOUT;
use crate::client::{self, accepted};
use crate::server::Server;

/// A client of the admin listener, with the administrator's token.
#[derive(Clone)]
pub(crate) struct Administrator {
    http: Client,
    base: String,
    token: String,
}

impl Administrator {
    pub(crate) fn of(server: &Server) -> Result<Self> {
        let http = client::http().timeout(TIMEOUT).build()?;
        let base = format!("http://{}/admin/v1", server.admin());
        Ok(Self { http, base, token: server.admin_token()? })
    }

    /// Stores a plugin, and returns its digest.
    pub(crate) async fn push(&self, plugin: Vec<u8>) -> Result<String> {
        let stored = self.asked(self.request(Method::POST, "plugins").body(plugin)).await?;
        Ok(stored["digest"].as_str().context("a plugin has no digest")?.to_owned())
    }

    pub(crate) async fn deploy(&self, pipeline: &str, what: &Value) -> Result<()> {
        let request = self.request(Method::PUT, &format!("pipelines/{pipeline}"));
        self.asked(request.json(what)).await.map(drop)
    }

    /// Ends the trial of a candidate.
    pub(crate) async fn roll_back(&self, pipeline: &str) -> Result<()> {
        let path = format!("pipelines/{pipeline}/rollback");
        self.asked(self.request(Method::POST, &path)).await.map(drop)
    }

    /// Tries a plugin as a policy in shadow.
    pub(crate) async fn shadow(&self, policy: &str, what: &Value) -> Result<()> {
        let request = self.request(Method::POST, &format!("policies/{policy}/shadow"));
        self.asked(request.json(what)).await.map(drop)
    }

    /// Ends that, and returns what was found out.
    pub(crate) async fn end_shadow(&self, policy: &str) -> Result<Value> {
        self.asked(self.request(Method::DELETE, &format!("policies/{policy}/shadow"))).await
    }

    /// What is deployed, and what of it is compared.
    pub(crate) async fn shown(&self, pipeline: &str) -> Result<Value> {
        self.asked(self.request(Method::GET, &format!("pipelines/{pipeline}"))).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}/{path}", self.base)).bearer_auth(&self.token)
    }

    async fn asked(&self, request: RequestBuilder) -> Result<Value> {
        accepted(request).await?.json().await.context("reading an administrator's answer")
    }
}
