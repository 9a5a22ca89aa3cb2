//! Embeds the body's `texts`, by default 1,000 of them, each in its own call and all at the same
//! time: more than the host lets one request have in flight.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use weir_sdk::embedding::{EmbedError, Embedding, embed};
use weir_sdk::serde_json::{Value, json};
use weir_sdk::{Failure, Pipeline, Request, Response};

type Call<'a> = Pin<Box<dyn Future<Output = Result<Embedding, EmbedError>> + 'a>>;

struct ManyCalls;

impl Pipeline for ManyCalls {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let texts: Vec<String> = match request.json::<Value>()?["texts"].as_array() {
            Some(texts) => texts.iter().map(ToString::to_string).collect(),
            None => (0..1_000).map(|number| number.to_string()).collect(),
        };
        let mut calls: Vec<Call<'_>> =
            texts.iter().map(|text| Box::pin(embed(None, text)) as Call<'_>).collect();
        let mut done = 0;
        let outcome = poll_fn(|context| {
            let mut failure = None;
            calls.retain_mut(|call| match call.as_mut().poll(context) {
                Poll::Pending => true,
                Poll::Ready(Ok(_)) => {
                    done += 1;
                    false
                }
                Poll::Ready(Err(error)) => {
                    failure = Some(error);
                    false
                }
            });
            match failure {
                Some(error) => Poll::Ready(Err(error)),
                None if calls.is_empty() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        });
        outcome.await?;
        Response::json(&json!({ "embedded": done }))
    }
}

weir_sdk::pipeline!(ManyCalls);
