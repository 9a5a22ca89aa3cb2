//! What the server says of itself: how its cache is used, and how far its documents and their index are.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::tiers::Tiers;

/// A request counts once it has ended, which the server can notice a moment after the client.
const COUNTED_WITHIN: Duration = Duration::from_secs(2);
const PIPELINE: &str = "search";

/// How far the documents and the search index are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Positions {
    /// The position of the last change.
    pub(crate) documents: u64,
    /// The position that the index has reached.
    pub(crate) index: u64,
    /// Documents that could not be embedded.
    pub(crate) set_aside: u64,
}

/// Asks one server.
pub(super) struct Health {
    http: reqwest::Client,
    base: String,
}

impl Health {
    pub(super) fn new(base: String) -> Result<Self> {
        let http = crate::client::http().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, base })
    }

    /// Where answers came from since the server started.
    pub(super) async fn tiers(&self) -> Result<Tiers> {
        Tiers::in_analytics(&self.get("/health/cache/analytics").await?, PIPELINE)
    }

    /// Where answers came from since `before`; as soon as that is what is expected, or as it is after a while.
    pub(super) async fn tiers_since(&self, before: Tiers, expected: Tiers) -> Result<Tiers> {
        let deadline = Instant::now() + COUNTED_WITHIN;
        loop {
            let tiers = self.tiers().await?.since(before)?;
            if tiers == expected || Instant::now() >= deadline {
                return Ok(tiers);
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) async fn positions(&self) -> Result<Positions> {
        Positions::in_readiness(&self.get("/health/readiness").await?)
    }

    /// An answer, whatever its status: a server that is behind is not ready, and says how far it is.
    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?;
        answer.json().await.with_context(|| format!("reading the answer of {path}"))
    }
}

impl Positions {
    fn in_readiness(readiness: &Value) -> Result<Self> {
        let number =
            |value: &Value| value.as_u64().context("the server's readiness has no position");
        Ok(Self {
            documents: number(&readiness["truth"]["position"])?,
            index: number(&readiness["derived"]["position"])?,
            // It is left out if there are none.
            set_aside: readiness["derived"]["set_aside"]["documents"].as_u64().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn readiness_has_positions() {
        let mut readiness =
            json!({ "truth": { "position": 9 }, "derived": { "position": 7, "lag": 2 } });
        let positions = Positions::in_readiness(&readiness).unwrap();
        assert_eq!(positions, Positions { documents: 9, index: 7, set_aside: 0 });
        readiness["derived"]["set_aside"] = json!({ "documents": 3, "first": [] });
        assert_eq!(Positions::in_readiness(&readiness).unwrap().set_aside, 3);
        readiness["truth"]["position"] = json!(null);
        Positions::in_readiness(&readiness).unwrap_err();
    }
}
