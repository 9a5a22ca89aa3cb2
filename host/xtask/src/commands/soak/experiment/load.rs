//! What is asked in a phase of an experiment, in a closed or an open loop, and what became of it.
//!
//! A request's time counts from when it was due; in a closed loop, that is when it was sent. Times are of
//! the requests that were due while it was measured, and goodput is of the answers that arrived then.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinSet;

use super::texts;
use super::world::BAD;
use crate::traffic::clients::{Clients, PATIENCE};
use crate::traffic::connection::request;
use crate::traffic::outcome::{Counts, Outcome};
use crate::traffic::schedule::{Clock, Real, open_loop};

/// What a refusal is.
pub(crate) const REFUSED: &str = "503 overloaded";

/// From when to when requests are measured. They are sent from the beginning of the clock.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Window {
    fn contains(self, time: Duration) -> bool {
        self.from <= time && time < self.to
    }
}

/// A request that has ended.
struct Ended {
    due: Duration,
    sent: Duration,
    ended: Duration,
    outcome: Outcome,
}

/// What became of requests. Times are in ascending order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How long answers (200) took.
    pub(crate) answered: Vec<Duration>,
    /// How long refusals (503 `overloaded`) took.
    pub(crate) refused: Vec<Duration>,
    /// How much later than they were due requests were begun, without what they waited for a free
    /// connection.
    pub(crate) late: Vec<Duration>,
    /// How all of them ended.
    pub(crate) ends: Counts,
    /// How many ended in neither way.
    pub(crate) failed: u64,
    /// How many answers did not come from the cache.
    pub(crate) not_hits: u64,
    /// How many answers arrived while it was measured, whenever their requests were due.
    pub(crate) arrived: u64,
}

impl Seen {
    fn of(all: impl IntoIterator<Item = Ended>, window: Window) -> Self {
        let mut seen = Self::default();
        for Ended { due, sent, ended, outcome } in all {
            let is_answer = outcome.status == Some(StatusCode::OK);
            seen.arrived += u64::from(is_answer && window.contains(ended));
            if !window.contains(due) {
                continue;
            }
            seen.late.push(sent.saturating_sub(due));
            let time = ended.saturating_sub(due);
            if is_answer {
                seen.answered.push(time);
                seen.not_hits += u64::from(!outcome.cache.is_hit());
            } else if outcome.label == REFUSED {
                seen.refused.push(time);
            } else {
                seen.failed += 1;
            }
            seen.ends.add(outcome.label);
        }
        for times in [&mut seen.answered, &mut seen.refused, &mut seen.late] {
            times.sort_unstable();
        }
        seen
    }
}

/// A search that has not been made before.
pub(crate) fn new_search() -> String {
    request("/v1/pipelines/search", &texts::new_question(BAD).to_string())
}

/// Runs so many clients until the window ends.
pub(crate) async fn closed(clients: Arc<Clients>, count: usize, window: Window) -> Seen {
    let clock = Real::start();
    let mut running = JoinSet::new();
    for _ in 0..count {
        let clients = Arc::clone(&clients);
        running.spawn(async move {
            let mut all = Vec::new();
            while clock.now() < window.to {
                let request = new_search();
                let sent = clock.now();
                let outcome = clients.ask(&request, PATIENCE).await;
                all.push(Ended { due: sent, sent, ended: clock.now(), outcome });
            }
            all
        });
    }
    Seen::of(running.join_all().await.into_iter().flatten(), window)
}

/// Sends requests at a rate until the window ends, and waits for those that are still in flight then.
/// Each time, `next` returns one that has been made before.
pub(crate) async fn open(
    clients: Arc<Clients>,
    per_second: u32,
    window: Window,
    mut next: impl FnMut(u32) -> Arc<str>,
) -> Seen {
    let clock = Real::start();
    let mut running = JoinSet::new();
    open_loop(&clock, per_second, window.to, |number, due| {
        let (clients, request) = (Arc::clone(&clients), next(number));
        running.spawn(async move {
            let sent = clock.now();
            let patience = (due + PATIENCE).saturating_sub(sent);
            let outcome = clients.ask(&request, patience).await;
            Ended { due, sent, ended: clock.now(), outcome }
        });
    })
    .await;
    Seen::of(running.join_all().await, window)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::cache_status::CacheStatus;

    #[test]
    fn only_what_was_due_in_the_window_has_a_time_and_only_what_arrived_then_is_goodput() {
        let second = Duration::from_secs;
        let ended = |due, ended, status, label: &str| Ended {
            due: second(due),
            sent: second(due),
            ended: second(ended),
            outcome: Outcome { status, label: label.to_owned(), cache: CacheStatus::Absent },
        };
        let ok = Some(StatusCode::OK);
        let seen = Seen::of(
            [
                ended(0, 1, ok, "200"),
                ended(1, 4, ok, "200"),
                ended(4, 5, ok, "200"),
                ended(5, 9, Some(StatusCode::SERVICE_UNAVAILABLE), REFUSED),
                ended(5, 12, ok, "200"),
                ended(6, 16, None, "timed out"),
                ended(10, 11, ok, "200"),
            ],
            Window { from: second(3), to: second(10) },
        );
        assert_eq!(seen.answered, [1, 7].map(second));
        assert_eq!(seen.refused, [second(4)]);
        assert_eq!((seen.arrived, seen.failed, seen.ends.total()), (2, 1, 4));
    }
}
