//! What only HTTP/2 allows: many requests on a connection, windows, pings and resets.
//!
//! A client whose window is closed makes the server keep its answers; pings make the connection look
//! alive. A request that is reset at once costs the client nothing, and makes the server begin.

use std::io;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, Reason, RecvStream};
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::commands::soak::experiment::target::Target;
use crate::commands::soak::experiment::texts;

type Connection = h2::client::Connection<TcpStream, Bytes>;

const CONNECTIONS: usize = 8;
/// As many as the server allows on a connection.
const STREAMS: usize = 256;
/// Together, the answers of all streams are 2 GiB.
const ANSWER: u64 = 1 << 20;
const PING_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn zero_window(target: Target) -> Result<()> {
    target
        .crowd(CONNECTIONS, async |target| {
            if let Err(error) = hold_answers(&target).await {
                target.note(said(&error));
            }
        })
        .await
}

pub(super) async fn rapid_reset(target: Target) -> Result<()> {
    target
        .crowd(CONNECTIONS, async |target| {
            if let Err(error) = reset(&target).await {
                target.note(said(&error));
            }
        })
        .await
}

/// Asks for answers that cannot be sent, and keeps the connection alive.
async fn hold_answers(target: &Target) -> Result<(), h2::Error> {
    let (sender, mut connection) = connect(target, 0).await?;
    let pings = connection.ping_pong();
    // Dropped with this set when the client ends.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    if let Some(mut pings) = pings {
        tasks.spawn(async move {
            loop {
                pings.ping(Ping::opaque()).await?;
                sleep(PING_EVERY).await;
            }
        });
    }
    for _ in 0..STREAMS {
        let (target, sender) = (target.clone(), sender.clone());
        tasks.spawn(async move {
            let body = json!({ "bytes": ANSWER, "number": texts::number() });
            // Kept, and never read.
            let _answer = ask(&target, sender, "huge-answer", &body).await?;
            std::future::pending().await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        // The connection, or one of its streams, has ended.
        match ended {
            Ok(ended) => ended?,
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Sends a request and waits for the head of its answer, which it notes.
async fn ask(
    target: &Target,
    sender: SendRequest<Bytes>,
    pipeline: &str,
    body: &Value,
) -> Result<RecvStream, h2::Error> {
    let (answer, mut stream) =
        sender.ready().await?.send_request(request(target, pipeline), false)?;
    stream.send_data(body.to_string().into(), true)?;
    let answer = answer.await?;
    target.note(answer.status().as_u16().to_string());
    Ok(answer.into_body())
}

/// Begins requests and resets them until the server closes the connection.
async fn reset(target: &Target) -> Result<(), h2::Error> {
    let (mut sender, connection) = connect(target, 65_535).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    loop {
        sender = sender.ready().await?;
        let (_answer, mut stream) = sender.send_request(request(target, "search"), false)?;
        stream.send_data(texts::new_question("bad").to_string().into(), true)?;
        stream.send_reset(Reason::CANCEL);
        target.note("reset");
        // Otherwise the connection would not get to send it.
        tokio::task::yield_now().await;
    }
}

async fn connect(
    target: &Target,
    window: u32,
) -> Result<(SendRequest<Bytes>, Connection), h2::Error> {
    let closed = || h2::Error::from(Reason::CONNECT_ERROR);
    let stream = target.connect().await.ok_or_else(closed)?;
    Builder::new()
        .initial_window_size(window)
        .initial_max_send_streams(STREAMS)
        .handshake(stream)
        .await
}

fn request(target: &Target, pipeline: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = http::Method::POST;
    if let Ok(uri) = target.url(&format!("pipelines/{pipeline}")).parse() {
        *request.uri_mut() = uri;
    }
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert(http::header::CONTENT_TYPE, json);
    request
}

fn said(error: &h2::Error) -> String {
    match (error.reason(), error.get_io().map(io::Error::kind)) {
        (Some(reason), _) => format!("{reason:?}"),
        (None, Some(kind)) => kind.to_string(),
        (None, None) => "disconnected".to_owned(),
    }
}
