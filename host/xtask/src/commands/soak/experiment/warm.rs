//! Hits at a steady rate: questions that are asked over and over.

use std::sync::Arc;

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use tokio::sync::Barrier;

use super::load::{self, Seen, Window};
use super::texts;
use super::world::GOOD;
use crate::traffic::clients::{Clients, PATIENCE};
use crate::traffic::connection::request;

const HITS_PER_SECOND: u32 = 200;
/// How many questions are asked over and over.
const WARM_QUESTIONS: u32 = 200;

/// Asks the warm set once, waits for the start, and then asks at a rate.
pub(crate) async fn hits(clients: Clients, start: Arc<Barrier>, window: Window) -> Result<Seen> {
    let questions = (0..WARM_QUESTIONS).map(|number| texts::warm_question(GOOD, number));
    let requests: Vec<Arc<str>> = questions
        .map(|question| request("/v1/pipelines/search", &question.to_string()).into())
        .collect();
    for request in &requests {
        let answer = clients.ask(request, PATIENCE).await;
        let is_answered = answer.status == Some(StatusCode::OK);
        ensure!(is_answered, "a question of the warm set was answered {}", answer.label);
    }
    start.wait().await;
    let next = |number| Arc::clone(&requests[(number % WARM_QUESTIONS) as usize]);
    Ok(load::open(Arc::new(clients), HITS_PER_SECOND, window, next).await)
}
