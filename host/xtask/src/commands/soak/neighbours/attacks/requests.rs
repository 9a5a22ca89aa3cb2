//! Requests as fast as they go.
//!
//! An abandoned one hurts if the server goes on computing what nobody waits for. Distinct keys hurt
//! if they push what others use out of the cache, or if what a miss leaves behind is not bounded.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::{texts, world};
use crate::traffic::connection::request;

const STAY: Duration = Duration::from_millis(1);
/// Requests that are sent in one piece.
const PIPELINED: usize = 64;

pub(super) async fn abandoned(target: Target) -> Result<()> {
    target
        .crowd(64, async |target| {
            let question = texts::new_question(world::BAD).to_string();
            let request = request("/v1/pipelines/search", &question);
            let Some(mut stream) = target.connect().await else { return };
            // Closes by a reset, which leaves no port behind that cannot be used for a minute.
            let _ = stream.set_zero_linger();
            match stream.write_all(request.as_bytes()).await {
                Ok(()) => {
                    sleep(STAY).await;
                    target.note("abandoned");
                }
                Err(error) => target.note_error(&error),
            }
        })
        .await
}

pub(super) async fn distinct_keys(target: Target) -> Result<()> {
    target
        .crowd(4, async |target| {
            let Some(stream) = target.connect().await else { return };
            let (mut reader, mut writer) = stream.into_split();
            let write = async {
                loop {
                    let mut requests = String::new();
                    for _ in 0..PIPELINED {
                        let body = json!({ "number": texts::number() }).to_string();
                        // Writing to a string does not fail.
                        let _ = requests.write_str(&request("/v1/pipelines/echo", &body));
                    }
                    if let Err(error) = writer.write_all(requests.as_bytes()).await {
                        return error;
                    }
                    target.note(format!("{PIPELINED} requests"));
                }
            };
            let read = async {
                let mut answers = vec![0; 64 << 10];
                while reader.read(&mut answers).await.is_ok_and(|count| count > 0) {}
            };
            tokio::select! {
                error = write => target.note_error(&error),
                () = read => target.note("closed"),
            }
        })
        .await
}
