//! Texts to be embedded: much work for few bytes.
//!
//! Leaving hurts if texts that nobody waits for stay in the queue before those of others. A long
//! word hurts if splitting it into tokens takes more than linear time, or happens on a thread that
//! others need.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::texts;
use crate::traffic::connection::request;

const PATH: &str = "embeddings";
const MODEL: &str = "all-MiniLM-L6-v2";
const LEAVING: usize = 16;
const STAY: Duration = Duration::from_millis(50);
/// As many as a request may have.
const TEXTS: usize = 256;
/// Almost as long as the model's window.
const WORDS: usize = 120;
const LONG_WORDS: usize = 12;
/// With the rest of its request, almost as large as the server takes.
const LETTERS: usize = (1 << 20) - 1_000;

pub(super) async fn embed_and_leave(target: Target) -> Result<()> {
    target
        .crowd(LEAVING, async |target| {
            let texts: Vec<String> = (0..TEXTS).map(|_| texts::new_text(WORDS)).collect();
            let request = request(&format!("/v1/{PATH}"), &body(&json!(texts)).to_string());
            let Some(mut stream) = target.connect().await else { return };
            match stream.write_all(request.as_bytes()).await {
                Ok(()) => {
                    sleep(STAY).await;
                    target.note("left");
                }
                Err(error) => target.note_error(&error),
            }
        })
        .await
}

pub(super) async fn long_words(target: Target) -> Result<()> {
    target
        .crowd(LONG_WORDS, async |target| {
            // Different words, so that no cache knows them.
            let number = texts::number().to_string();
            let word = "abcdefghij".repeat(LETTERS / 10) + &number;
            target.post(PATH, &body(&json!(word))).await;
        })
        .await
}

fn body(input: &Value) -> Value {
    json!({ "model": MODEL, "input": input })
}
