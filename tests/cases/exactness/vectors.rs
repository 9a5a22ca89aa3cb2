//! The vectors of texts, from `/v1/embeddings`.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::harness::{Answer, Client};

const MODEL: &str = "all-MiniLM-L6-v2";
/// Texts in one request.
const BATCH: usize = 32;
/// How long the server may be too busy for a request.
const BUSY: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_millis(20);

/// The vectors that are known so far.
#[derive(Default)]
pub(super) struct Vectors(Mutex<HashMap<String, Arc<[f32]>>>);

impl Vectors {
    /// The unit vector of a text, which must have been [fetched](Self::fetch).
    pub(super) fn of(&self, text: &str) -> Arc<[f32]> {
        let known = self.0.lock().unwrap().get(text).cloned();
        known.unwrap_or_else(|| panic!("there is no vector of {text:?}"))
    }

    /// Asks for the vectors of those of the texts that are not known yet.
    ///
    /// # Errors
    /// The server is gone.
    pub(super) async fn fetch(
        &self,
        client: &Client,
        texts: impl IntoIterator<Item = String>,
    ) -> Result<(), reqwest::Error> {
        let known = |text: &String| self.0.lock().unwrap().contains_key(text);
        let missing: BTreeSet<_> = texts.into_iter().filter(|text| !known(text)).collect();
        let missing: Vec<_> = missing.into_iter().collect();
        for batch in missing.chunks(BATCH) {
            let vectors = embed(client, batch).await?;
            self.0.lock().unwrap().extend(batch.iter().cloned().zip(vectors));
        }
        Ok(())
    }

    /// Makes the vectors of some texts known without a server.
    pub(super) fn insert(&self, text: &str, vector: &[f32]) {
        self.0.lock().unwrap().insert(text.to_owned(), vector.into());
    }

    /// Asserts that the server still has the same vectors for some of the texts.
    pub(super) async fn assert_unchanged(&self, client: &Client, count: usize) {
        let some: Vec<_> = self.0.lock().unwrap().keys().take(count).cloned().collect();
        for batch in some.chunks(BATCH) {
            let vectors = embed(client, batch).await.unwrap();
            for (text, vector) in batch.iter().zip(vectors) {
                assert_eq!(self.of(text), vector, "the vector of {text:?} changed");
            }
        }
    }
}

async fn embed(client: &Client, texts: &[String]) -> Result<Vec<Arc<[f32]>>, reqwest::Error> {
    let body = json!({ "model": MODEL, "input": texts, "encoding_format": "base64" }).to_string();
    let began = Instant::now();
    loop {
        let request = client.request("POST", "/v1/embeddings");
        let request = request.header("content-type", "application/json").body(body.clone());
        let answer = Answer::try_to(request).await?;
        if answer.status == 503 && began.elapsed() < BUSY {
            // The load may have filled the queue.
            tokio::time::sleep(RETRY).await;
            continue;
        }
        answer.assert_status(200);
        let data = answer.json()["data"].as_array().expect("it is a list").clone();
        assert_eq!(data.len(), texts.len());
        return Ok(data.iter().map(|item| vector(&item["embedding"])).collect());
    }
}

fn vector(embedding: &Value) -> Arc<[f32]> {
    let bytes = BASE64.decode(embedding.as_str().expect("it is base64")).unwrap();
    let (numbers, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    numbers.iter().copied().map(f32::from_le_bytes).collect()
}
