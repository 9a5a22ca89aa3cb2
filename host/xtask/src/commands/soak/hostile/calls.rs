//! How a call is made: as JSON, as bytes that no HTTP client would send, or without waiting for an answer.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::commands::soak::experiment::target::{TIMEOUT, Target};
use crate::traffic::outcome;

/// What a client says that did not wait for its answer.
pub(super) const LEFT: &str = "left";
/// How long a client that leaves stays after its request.
const STAY: Duration = Duration::from_millis(1);

/// A call.
pub(super) enum Call {
    /// JSON to a pipeline.
    Ask(&'static str, Value),
    /// A body of a type, to a path below `/v1`.
    Send(Method, &'static str, &'static str, Vec<u8>),
    /// Bytes on a connection of its own, until the head of an answer.
    Raw(Vec<u8>),
    /// The same, without waiting for an answer.
    Leave(Vec<u8>),
}

impl Call {
    /// Makes the call, and says how it ended: `400 invalid-json`, or only `400` for bytes.
    pub(super) async fn make(self, target: &Target) -> String {
        match self {
            Self::Ask(pipeline, body) => {
                let url = target.url(&format!("pipelines/{pipeline}"));
                outcome::send(target.http.post(url).json(&body)).await.label
            }
            Self::Send(method, path, content_type, body) => {
                let request = target.http.request(method, target.url(path));
                outcome::send(request.header("content-type", content_type).body(body)).await.label
            }
            Self::Raw(bytes) => raw(target, &bytes, true).await,
            Self::Leave(bytes) => raw(target, &bytes, false).await,
        }
    }
}

async fn raw(target: &Target, bytes: &[u8], waits: bool) -> String {
    let Some(mut stream) = target.connect().await else { return "not connected".to_owned() };
    if let Err(error) = stream.write_all(bytes).await {
        return outcome::of_io(&error);
    }
    if !waits {
        sleep(STAY).await;
        // Closes by a reset, which leaves no port behind that cannot be used for a minute.
        let _ = stream.set_zero_linger();
        return LEFT.to_owned();
    }
    let mut head = [0; 1024];
    match timeout(TIMEOUT, stream.read(&mut head)).await {
        Ok(Ok(count)) => outcome::of_head(&head[..count]),
        Ok(Err(error)) => outcome::of_io(&error),
        Err(_) => "timed out".to_owned(),
    }
}
