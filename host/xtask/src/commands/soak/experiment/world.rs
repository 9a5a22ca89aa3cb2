//! The server of an experiment: its configuration, and its collections before the first client comes.
//!
//! All limits are at their defaults, unless the experiment says otherwise. All clients are of the same
//! tenant.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::texts;
use crate::client::Client;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::set_up::Embedding;
use crate::workspace::Workspace;

/// The collection that good clients search.
pub(crate) const GOOD: &str = "good";
/// The collection that good clients write to.
pub(crate) const JOURNAL: &str = "journal";
/// The collection that their neighbours use.
pub(crate) const BAD: &str = "bad";

const DOCUMENTS: u64 = 400;
const DOCUMENTS_OF_A_REQUEST: u64 = 50;
/// Longer than the experiment.
const TTL_MS: u64 = 86_400_000;
/// The guests of `tests/guests/` that attack.
const GUESTS: [&str; 7] =
    ["loop-forever", "allocate-forever", "recurse", "trap", "huge-answer", "many-calls", "attacks"];

/// Starts the server with its files in `folder`, and what `adjust` changes in the sections of its
/// configuration.
pub(crate) async fn start(
    workspace: &Workspace,
    embedding: &Embedding,
    folder: &Path,
    adjust: impl FnOnce(&mut Value),
) -> Result<Server> {
    let mut sections = sections(&workspace.components());
    adjust(&mut sections);
    let configuration = Configuration { listen: free_address()?, embedding, sections };
    Server::start(&workspace.server_binary(), folder, &configuration).await
}

fn sections(components: &Path) -> Value {
    let plugins = components.join("plugins");
    let mut sections = search_sections(&plugins);
    sections["policies"]["default"]["settings"] = json!({ "ttl_ms": TTL_MS });
    let pipelines = &mut sections["pipelines"];
    pipelines["echo"] = json!({ "component": plugins.join("echo.wasm"), "policy": "default" });
    for name in GUESTS {
        let component = components.join("guests").join(name).with_extension("wasm");
        pipelines[name] = json!({ "component": component });
        if let Some(grants) = grants(name) {
            pipelines[name]["grants"] = grants;
        }
    }
    sections
}

/// What a guest that attacks imports.
fn grants(guest: &str) -> Option<Value> {
    match guest {
        "many-calls" => Some(json!({ "embedding": {} })),
        "attacks" => Some(json!({
            "embedding": {}, "collections": { "read": ["*"] }, "logging": true,
        })),
        _ => None,
    }
}

/// Creates the collections, and fills those that are searched.
pub(crate) async fn fill(server: &Server) -> Result<()> {
    let client = Client::new(&server.url())?;
    for collection in [GOOD, BAD, JOURNAL] {
        client.create_collection(collection).await?;
    }
    for collection in [GOOD, BAD] {
        for first in (0..DOCUMENTS).step_by(DOCUMENTS_OF_A_REQUEST as usize) {
            let documents = (first..first + DOCUMENTS_OF_A_REQUEST).map(texts::document);
            let filled = client.ingest(collection, texts::ndjson(documents)).await;
            filled.with_context(|| format!("filling the collection {collection}"))?;
        }
    }
    Ok(())
}

/// Fails unless a guest gets a slot.
pub(crate) async fn echo(server: &Server) -> Result<()> {
    let client = Client::new(&server.url())?;
    // A new one, which no cache can answer.
    let question = json!({ "still": "there", "number": texts::number() });
    let answer = client.ask("echo", &question).await?;
    anyhow::ensure!(answer == question, "echo answered {answer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_have_what_they_need_and_no_more() {
        let sections = sections(Path::new("/c"));
        let pipelines = &sections["pipelines"];
        assert_eq!(pipelines["many-calls"]["grants"], json!({ "embedding": {} }));
        assert_eq!(pipelines["trap"], json!({ "component": "/c/guests/trap.wasm" }));
        assert_eq!(pipelines["echo"]["policy"], "default");
        assert!(sections.get("engine").is_none(), "limits are at their defaults");
    }
}
