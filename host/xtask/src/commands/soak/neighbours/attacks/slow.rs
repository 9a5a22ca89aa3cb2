//! Clients that are slow on purpose: little traffic, but each holds something of the server's.
//!
//! A head or a body that does not end holds a connection; a body that was announced may hold the
//! memory that was set aside for it; an upload may hold one of the few turns of writers.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::world;

const EVERY: Duration = Duration::from_millis(500);
const ECHO: &str = "/v1/pipelines/echo";
/// As large as the server takes.
const BODY: usize = 1 << 20;
const UPLOAD: usize = 60 << 20;
const UPLOADED: usize = 1 << 20;

pub(super) async fn slow_heads(target: Target) -> Result<()> {
    target
        .crowd(500, async |target| {
            let head = format!("POST {ECHO} HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
            hold(&target, target.address, head.as_bytes(), Some(b"a")).await;
        })
        .await
}

pub(super) async fn slow_bodies(target: Target) -> Result<()> {
    target
        .crowd(300, async |target| {
            hold(&target, target.address, head(ECHO, BODY).as_bytes(), Some(b" ")).await;
        })
        .await
}

pub(super) async fn announced_bodies(target: Target) -> Result<()> {
    target
        .crowd(300, async |target| {
            hold(&target, target.address, head(ECHO, BODY).as_bytes(), None).await;
        })
        .await
}

pub(super) async fn stalled_uploads(target: Target) -> Result<()> {
    target
        .crowd(16, async |target| {
            let path = format!("/v1/collections/{}/documents", world::BAD);
            let mut sent = head(&path, UPLOAD).into_bytes();
            sent.extend(std::iter::repeat_n(b' ', UPLOADED));
            hold(&target, target.address, &sent, None).await;
        })
        .await
}

/// The head of a request with a body of so many bytes.
fn head(path: &str, bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {bytes}\r\n\r\n"
    )
}

/// Sends the beginning of a request to a listener, goes on with `more` every half second, if anything, and notes
/// what the server answers.
pub(super) async fn hold(
    target: &Target,
    listener: SocketAddr,
    beginning: &[u8],
    more: Option<&[u8]>,
) {
    let Some(mut stream) = target.connect_to(listener).await else { return };
    target.note("begun");
    if let Err(error) = stream.write_all(beginning).await {
        return target.note_error(&error);
    }
    if let Some(more) = more {
        trickle(target, stream, more).await;
    } else {
        target.note_answer(&mut stream).await;
    }
}

async fn trickle(target: &Target, mut stream: TcpStream, more: &[u8]) {
    loop {
        tokio::select! {
            // An error will be seen by whoever reads.
            _ = stream.readable() => return target.note_answer(&mut stream).await,
            () = sleep(EVERY) => {}
        }
        if let Err(error) = stream.try_write(more) {
            return target.note_error(&error);
        }
    }
}
