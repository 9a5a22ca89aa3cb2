//! Answers that are lines of JSON, read as they arrive.

use anyhow::Context as _;
use reqwest::Response;
use serde_json::Value;

/// An answer, and what has arrived of its next line.
pub(crate) struct Lines {
    answer: Response,
    unread: Vec<u8>,
}

impl Lines {
    pub(crate) fn of(answer: Response) -> Self {
        Self { answer, unread: Vec::new() }
    }

    /// The next line; `null` if it is empty. `None` at the end.
    ///
    /// # Errors
    /// The answer is cut off, or a line is not JSON.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    return Ok(Some(Value::Null));
                }
                return serde_json::from_slice(&line).context("the answer is not JSON");
            }
            match self.answer.chunk().await? {
                Some(bytes) => self.unread.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}
