//! The program that `cargo xtask bench` and `cargo xtask compare` measure next to Weir:
//! `axum::serve` and nothing else.
//!
//! For each path, it reads the request's body and sends an answer captured from Weir, with the same
//! headers and bytes. Arguments: the address to listen on, and a file with the answers.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::{env, fs};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::post;
use serde::Deserialize;

/// A captured answer.
#[derive(Deserialize)]
struct Answer {
    headers: Vec<(String, String)>,
    body: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, answers] = arguments.as_slice() else {
        return Err("usage: plain-axum ADDRESS:PORT FILE".into());
    };
    let answers: HashMap<String, Answer> = serde_json::from_str(&fs::read_to_string(answers)?)?;
    let mut router = Router::new();
    for (path, Answer { headers, body }) in answers {
        let headers = parse(headers)?;
        let body = Bytes::from(body);
        // The body is read, because a server that computes a cache key from it has to read it too.
        let answer = async move |_read: Bytes| (headers.clone(), body.clone());
        router = router.route(&path, post(answer));
    }
    let listener = tokio::net::TcpListener::bind(listen.parse::<SocketAddr>()?).await?;
    axum::serve(listener, router).await?;
    Ok(())
}

fn parse(headers: Vec<(String, String)>) -> Result<HeaderMap, Box<dyn Error>> {
    let parse = |(name, value): (String, String)| -> Result<_, Box<dyn Error>> {
        Ok((name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?))
    };
    headers.into_iter().map(parse).collect()
}
