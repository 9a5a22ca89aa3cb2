//! The server of the experiment: its configuration, and the collections before the first phase.
//!
//! All limits are at their defaults. The attacks run in the same tenant as the good client.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::good_client::{GOOD, JOURNAL};
use super::texts;
use crate::client::Client;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::set_up::Embedding;
use crate::workspace::Workspace;

/// The collection that the neighbours use.
pub(super) const BAD: &str = "bad";

const DOCUMENTS: u64 = 400;
const DOCUMENTS_OF_A_REQUEST: u64 = 50;
/// Longer than the experiment.
const TTL_MS: u64 = 86_400_000;
/// The guests of `tests/guests/` that attacks use, and whether they embed.
const GUESTS: [(&str, bool); 6] = [
    ("loop-forever", false),
    ("allocate-forever", false),
    ("recurse", false),
    ("trap", false),
    ("huge-answer", false),
    ("many-calls", true),
];

/// Starts the server with its files in `folder`.
pub(super) async fn start(
    workspace: &Workspace,
    embedding: &Embedding,
    folder: &Path,
) -> Result<Server> {
    let sections = sections(&workspace.components());
    let configuration = Configuration { listen: free_address()?, embedding, sections };
    Server::start(&workspace.server_binary(), folder, &configuration).await
}

fn sections(components: &Path) -> Value {
    let plugins = components.join("plugins");
    let mut sections = search_sections(&plugins);
    sections["policies"]["default"]["settings"] = json!({ "ttl_ms": TTL_MS });
    let pipelines = &mut sections["pipelines"];
    pipelines["echo"] = json!({ "component": plugins.join("echo.wasm"), "policy": "default" });
    for (name, embeds) in GUESTS {
        let component = components.join("guests").join(name).with_extension("wasm");
        pipelines[name] = json!({ "component": component });
        if embeds {
            pipelines[name]["grants"] = json!({ "embedding": {} });
        }
    }
    sections
}

/// Creates the collections, and fills those that are searched.
pub(super) async fn fill(server: &Server) -> Result<()> {
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
pub(super) async fn echo(server: &Server) -> Result<()> {
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
