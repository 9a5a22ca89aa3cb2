//! Prepares a server for the cases, and captures its answers.

use anyhow::{Context, Result};

use super::cases::{CASES, Case};
use super::measure::{Amount, Target, load};
use super::questions;
use crate::client::Client;

/// Ingests the documents, fills the cache, and asks each question once.
pub(super) async fn prepare(target: Target, connections: usize) -> Result<()> {
    let client = Client::new(&format!("http://{}", target.address))?;
    client.create_collection(questions::COLLECTION).await?;
    client
        .ingest(questions::COLLECTION, questions::documents(0..questions::DOCUMENTS))
        .await
        .context("ingesting the benchmark's documents")?;
    for case in &CASES {
        // An uncached echo keeps nothing, so there is nothing to warm.
        if case.is_hit || case.mode.is_some() {
            load(target, case, connections, Amount::EachOnce).await?;
        }
    }
    Ok(())
}

/// Captures the answer of a server to the first question of a case: the body, and the headers
/// without those that every HTTP server adds itself.
pub(super) async fn capture(
    target: Target,
    case: &Case,
) -> Result<(Vec<(String, String)>, String)> {
    let url = format!("http://{}{}", target.address, case.path);
    let request =
        crate::client::http().build()?.post(&url).header("content-type", "application/json");
    let body = questions::body(0, case.mode);
    let answer = request.body(body).send().await?.error_for_status()?;
    let is_own = |name: &str| matches!(name, "date" | "content-length" | "connection");
    let headers = answer
        .headers()
        .iter()
        .filter(|(name, _)| !is_own(name.as_str()))
        .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
        .collect::<Result<_>>()?;
    Ok((headers, answer.text().await?))
}
