//! The load: runs of the pipeline, each of a request that nobody has made before, and searches beside them, in an
//! open loop that goes on while candidates come and go.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::PIPELINE;
use crate::commands::soak::experiment::load::new_search;
use crate::commands::soak::experiment::texts;
use crate::traffic::clients::{Clients, PATIENCE};
use crate::traffic::connection::request;
use crate::traffic::outcome::Counts;
use crate::traffic::schedule::{Real, open_loop};
use crate::traffic::threads::on_own_thread;

/// How many runs a second are asked for.
pub(super) const RUNS_PER_SECOND: u32 = 200;
pub(super) const SEARCHES_PER_SECOND: u32 = 10;
/// Longer than the experiment.
const AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);
/// A client has at most a part of a pipeline's runs, so there are some.
const FROM: [Ipv4Addr; 4] = [
    Ipv4Addr::new(127, 0, 0, 2),
    Ipv4Addr::new(127, 0, 0, 3),
    Ipv4Addr::new(127, 0, 0, 4),
    Ipv4Addr::new(127, 0, 0, 5),
];

/// Requests that go on until it is stopped.
pub(super) struct Load {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<()>>,
    counts: Arc<Mutex<Counts>>,
}

impl Load {
    pub(super) fn start(server: SocketAddr) -> Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let counts: Arc<Mutex<Counts>> = Arc::default();
        let ends = Arc::clone(&counts);
        let ended = on_own_thread("load", move || async move {
            let clients = Arc::new(Clients::new(server, &FROM));
            let run = || {
                let body = format!("{{\"number\":{}}}", texts::number());
                request(&format!("/v1/pipelines/{PIPELINE}"), &body)
            };
            let both = async {
                tokio::join!(
                    send(&clients, RUNS_PER_SECOND, run, Some(&ends)),
                    send(&clients, SEARCHES_PER_SECOND, new_search, None),
                );
            };
            // Whoever waits for an answer leaves when it is stopped.
            tokio::select! {
                () = both => {}
                _ = stopped => {}
            }
            Ok(())
        })?;
        Ok(Self { stop, ended, counts })
    }

    /// Stops it, and returns how the requests to the pipeline ended.
    pub(super) async fn stop(self) -> Result<Counts> {
        drop(self.stop);
        self.ended.await??;
        Ok(self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Sends requests at a rate, and counts how they end.
async fn send(
    clients: &Arc<Clients>,
    per_second: u32,
    next: impl Fn() -> String,
    counts: Option<&Arc<Mutex<Counts>>>,
) {
    let mut running = JoinSet::new();
    open_loop(&Real::start(), per_second, AT_MOST, |_, _| {
        while running.try_join_next().is_some() {}
        let (clients, request, counts) = (Arc::clone(clients), next(), counts.map(Arc::clone));
        running.spawn(async move {
            let outcome = clients.ask(&request, PATIENCE).await;
            if let Some(counts) = counts {
                counts.lock().unwrap_or_else(PoisonError::into_inner).add(outcome.label);
            }
        });
    })
    .await;
}
