//! One phase: hits at a steady rate, and what comes besides them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use tokio::sync::Barrier;

use super::clients::{Clients, PATIENCE};
use super::load::{self, Load, Seen, Window};
use crate::commands::bench::generator::request;
use crate::commands::soak::experiment::afterwards::must_be_quiet;
use crate::commands::soak::experiment::texts;
use crate::commands::soak::experiment::threads::on_own_thread;
use crate::commands::soak::experiment::watch::Process;
use crate::commands::soak::experiment::world::GOOD;
use crate::server::Server;

/// Before the first request that counts.
const WARM: Duration = Duration::from_secs(3);
const HITS_PER_SECOND: u32 = 200;
/// How many questions are asked over and over.
const WARM_QUESTIONS: u32 = 200;
/// Where the hits come from.
const HITS: [Ipv4Addr; 1] = [Ipv4Addr::LOCALHOST];
/// Where the load comes from: other clients than the hits', because the server tells clients by their
/// addresses.
const LOAD: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
];

/// What was measured in a phase.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) load: Load,
    pub(super) measured: Duration,
    pub(super) hits: Seen,
    /// What became of the load; nothing if there was none.
    pub(super) seen: Option<Seen>,
}

impl Phase {
    /// How many answers to new questions arrived in a second.
    pub(super) fn goodput(&self) -> f64 {
        self.seen.as_ref().map_or(0.0, |seen| seen.arrived as f64 / self.measured.as_secs_f64())
    }
}

/// Waits until the server is quiet, and runs a phase.
pub(super) async fn run(server: &Server, load: Load, measured: Duration) -> Result<Phase> {
    must_be_quiet(&Process::new(server.id()?)).await?;
    let window = Window { from: WARM, to: WARM + measured };
    let address = server.address();
    let parties = if load == Load::None { 1 } else { 2 };
    let start = Arc::new(Barrier::new(parties));
    let hits = on_own_thread("hits", {
        let start = Arc::clone(&start);
        move || hits(Clients::new(address, &HITS), start, window)
    })?;
    if load == Load::None {
        return Ok(Phase { load, measured, hits: hits.await??, seen: None });
    }
    let seen = on_own_thread("load", move || async move {
        Ok(send(load, Clients::new(address, &LOAD), start, window).await)
    })?;
    // If one of the two cannot begin, the other is not waited for.
    let (hits, seen) = tokio::try_join!(async { hits.await? }, async { anyhow::Ok(seen.await??) })?;
    Ok(Phase { load, measured, hits, seen: Some(seen) })
}

/// Asks the warm set once, and then at a rate.
async fn hits(clients: Clients, start: Arc<Barrier>, window: Window) -> Result<Seen> {
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

/// Sends the load, which is made before the clock starts if it is known how much that is.
async fn send(load: Load, clients: Clients, start: Arc<Barrier>, window: Window) -> Seen {
    let clients = Arc::new(clients);
    match load {
        Load::None => unreachable!("nothing is sent"),
        Load::Closed { clients: count } => {
            start.wait().await;
            load::closed(clients, count, window).await
        }
        Load::Open { per_second } => {
            let count = (f64::from(per_second) * window.to.as_secs_f64()).ceil() as usize;
            let requests: Vec<Arc<str>> = (0..count).map(|_| load::new_search().into()).collect();
            start.wait().await;
            let next = |number| Arc::clone(&requests[number as usize]);
            load::open(clients, per_second, window, next).await
        }
    }
}
