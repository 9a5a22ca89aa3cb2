//! Reads a test collection from disk: documents, queries and judgements, in the format that the
//! README of the Cranfield collection describes, and ingests its documents. `replay` uses it too.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::Client;
use crate::progress::Progress;

const DOCUMENTS_IN_A_BATCH: usize = 50;

/// Documents, queries and which documents are relevant to which query.
pub(super) struct TestCollection {
    pub(super) documents: Vec<Document>,
    pub(super) queries: Vec<Query>,
    /// Relevant documents by query id. Every listed pair counts as relevant, whatever its grade.
    pub(super) relevant: HashMap<String, HashSet<String>>,
}

#[derive(Deserialize)]
pub(crate) struct Document {
    id: String,
    title: String,
    text: String,
}

#[derive(Deserialize)]
pub(super) struct Query {
    pub(super) id: String,
    pub(super) text: String,
}

impl TestCollection {
    /// Reads `documents.jsonl`, `queries.jsonl` and `qrels.tsv`. Leaves out queries without
    /// judgements, because no measure is defined for them.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let relevant = judgements(&read(&folder.join("qrels.tsv"))?)?;
        let mut queries: Vec<Query> = lines(&folder.join("queries.jsonl"))?;
        queries.retain(|query| relevant.contains_key(&query.id));
        ensure!(!queries.is_empty(), "no query of {} has judgements", folder.display());
        Ok(Self { documents: documents(folder)?, queries, relevant })
    }
}

/// Reads `documents.jsonl`.
pub(crate) fn documents(folder: &Path) -> Result<Vec<Document>> {
    lines(&folder.join("documents.jsonl"))
}

/// Creates a collection, and returns once these documents can be searched in it.
pub(crate) async fn ingest(client: &Client, name: &str, documents: &[Document]) -> Result<()> {
    client.create_collection(name).await?;
    let progress = Progress::items("Ingesting", documents.len() as u64, "documents");
    for (index, batch) in documents.chunks(DOCUMENTS_IN_A_BATCH).enumerate() {
        progress.set((index * DOCUMENTS_IN_A_BATCH) as u64);
        client.ingest(name, ndjson(batch)).await?;
    }
    progress.done();
    Ok(())
}

fn ndjson(documents: &[Document]) -> String {
    let line = |document: &Document| -> Value {
        let text = format!("{}. {}", document.title, document.text);
        json!({ "id": document.id, "text": text })
    };
    documents.iter().map(|document| format!("{}\n", line(document))).collect()
}

fn judgements(tsv: &str) -> Result<HashMap<String, HashSet<String>>> {
    let mut relevant: HashMap<String, HashSet<String>> = HashMap::new();
    // The first line names the columns.
    for line in tsv.lines().skip(1).filter(|line| !line.is_empty()) {
        let mut columns = line.split('\t');
        let (Some(query), Some(document), Some(_grade)) =
            (columns.next(), columns.next(), columns.next())
        else {
            anyhow::bail!("a judgement must have a query, a document and a grade: {line:?}");
        };
        relevant.entry(query.to_owned()).or_default().insert(document.to_owned());
    }
    Ok(relevant)
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = read(path)?;
    let parse = |(index, line)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), index + 1))
    };
    text.lines().enumerate().map(parse).collect()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_listed_pair_is_relevant_and_listed_once() {
        let relevant =
            judgements("query_id\tdocument_id\tgrade\n1\t184\t2\n1\t29\t-1\n1\t29\t3\n2\t7\t0\n")
                .unwrap();
        assert_eq!(relevant["1"], HashSet::from(["184".into(), "29".into()]));
        assert_eq!(relevant["2"], HashSet::from(["7".into()]));
        assert!(judgements("query_id\tdocument_id\tgrade\n1 184 2\n").is_err());
    }

    #[test]
    fn queries_without_judgements_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("documents.jsonl", "{\"id\":\"9\",\"title\":\"t\",\"text\":\"x\",\"author\":\"\"}\n");
        write("queries.jsonl", "{\"id\":\"1\",\"text\":\"a\"}\n{\"id\":\"2\",\"text\":\"b\"}\n");
        write("qrels.tsv", "query_id\tdocument_id\tgrade\n2\t9\t1\n");
        let collection = TestCollection::read(folder.path()).unwrap();
        assert_eq!(collection.documents.len(), 1);
        let ids: Vec<_> = collection.queries.iter().map(|query| &query.id).collect();
        assert_eq!(ids, ["2"]);
    }
}
