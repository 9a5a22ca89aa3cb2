//! The documents that every contender searches: passages of the demo's corpus, each short enough
//! for the model's window, so that all contenders rank the same vectors.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::EMBEDDED;
use super::load::Contender;
use crate::client::Client;
use crate::commands::bench::questions::COLLECTION;
use crate::commands::demo::corpus::Corpus;
use crate::server::Server;

const PASSAGES: usize = 2_000;
const WORDS_OF_A_PASSAGE: usize = 50;
const WORDS_OF_A_QUESTION: usize = 10;
/// Passages per request.
const BATCH: usize = 250;

/// The passages, in memory and in a file.
pub(super) struct Documents {
    /// NDJSON of `{"id", "text", "metadata"}`.
    pub(super) file: PathBuf,
    passages: Vec<Value>,
}

impl Documents {
    /// Splits the corpus into passages.
    pub(super) fn of(corpus: &Corpus, folder: &Path) -> Result<Self> {
        let mut passages = Vec::new();
        for name in &corpus.files {
            let path = corpus.folder.join(name);
            let page =
                fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let text = without_tags(&page);
            let words: Vec<&str> = text.split_whitespace().collect();
            for (number, words) in words.chunks(WORDS_OF_A_PASSAGE).enumerate() {
                passages.push(json!({
                    "id": format!("{}/{number}", name.display()),
                    "text": words.join(" "),
                    "metadata": { "page": name, "number": number },
                }));
            }
        }
        passages.truncate(PASSAGES);
        ensure!(!passages.is_empty(), "{} has no text", corpus.title);
        let file = folder.join("documents.ndjson");
        let lines: String = passages.iter().map(|passage| format!("{passage}\n")).collect();
        fs::write(&file, lines).with_context(|| format!("writing {}", file.display()))?;
        Ok(Self { file, passages })
    }

    pub(super) fn count(&self) -> usize {
        self.passages.len()
    }

    /// Ingests all passages into Weir, and returns once they are searchable.
    pub(super) async fn ingest(&self, weir: &Server) -> Result<()> {
        eprintln!("Ingesting {} passages …", self.count());
        let client = Client::new(&weir.url())?;
        client.create_collection(COLLECTION).await?;
        for batch in self.passages.chunks(BATCH) {
            let lines = batch.iter().map(|passage| format!("{passage}\n")).collect();
            client.ingest(COLLECTION, lines).await?;
        }
        Ok(())
    }

    /// The share of results that two contenders have in common, for questions taken from the
    /// passages. If it is not close to 1, they do not do the same work.
    pub(super) async fn agreement(
        &self,
        a: &Contender,
        b: &Contender,
        questions: usize,
    ) -> Result<f64> {
        let (mut same, mut all) = (0, 0);
        for passage in self.passages.iter().step_by((self.count() / questions).max(1)) {
            let words = passage["text"].as_str().unwrap_or_default().split(' ');
            let query = words.take(WORDS_OF_A_QUESTION).collect::<Vec<_>>().join(" ");
            let question = json!({ "query": query, "collection": COLLECTION, "limit": 10 });
            let (of_a, of_b) = (found(a, &question).await?, found(b, &question).await?);
            same += of_a.intersection(&of_b).count();
            all += of_a.len().max(of_b.len());
        }
        Ok(same as f64 / all.max(1) as f64)
    }
}

async fn found(contender: &Contender, question: &Value) -> Result<HashSet<String>> {
    let url = format!("http://{}{}", contender.address, EMBEDDED.path);
    let answer = crate::client::http().build()?.post(url).json(question).send().await?;
    let answer: Value = answer.error_for_status()?.json().await?;
    let results = answer["results"].as_array().context("the answer has no results")?;
    let id = |hit: &Value| hit["document_id"].as_str().map(str::to_owned);
    results.iter().map(|hit| id(hit).context("a result has no id")).collect()
}

/// The text between the tags of a page. Entities are not decoded, which a benchmark does not need.
fn without_tags(page: &str) -> String {
    let main = page.split_once("<main>").map_or(page, |(_, main)| main);
    let main = main.split_once("</main>").map_or(main, |(main, _)| main);
    let mut text = String::with_capacity(main.len());
    for part in main.split('<') {
        // The text before the first tag has no `>`.
        text.push_str(part.split_once('>').map_or(part, |(_, after)| after));
        text.push(' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_is_between_tags() {
        for (page, expected) in [
            ("<head>x</head><main><p class=\"a\">One <b>two</b>.</p></main>", "One two ."),
            ("# Plain text\nof a file", "# Plain text of a file"),
            ("", ""),
        ] {
            let text = without_tags(page);
            assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        }
    }
}
