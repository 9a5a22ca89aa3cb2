//! One phase: hits at a steady rate, and what comes besides them.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Barrier;

use crate::commands::soak::experiment::afterwards::must_be_quiet;
use crate::commands::soak::experiment::load::{self, Seen, Window};
use crate::commands::soak::experiment::warm;
use crate::server::Server;
use crate::traffic::clients::Clients;
use crate::traffic::threads::on_own_thread;
use crate::watch::Process;

/// Before the first request that counts.
const WARM: Duration = Duration::from_secs(3);
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

/// What comes besides the hits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Load {
    None,
    /// So many clients, each with a new question when it has its answer.
    Closed {
        clients: usize,
    },
    /// So many new questions a second.
    Open {
        per_second: u32,
    },
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("hits alone"),
            Self::Closed { clients } => write!(formatter, "closed loop, {clients} clients"),
            Self::Open { per_second } => write!(formatter, "open loop, {per_second} a second"),
        }
    }
}

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
        move || warm::hits(Clients::new(address, &HITS), start, window)
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
