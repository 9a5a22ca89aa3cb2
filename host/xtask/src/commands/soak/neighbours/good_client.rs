//! The good client: 200 hits, 10 misses and 1 write a second, in an open loop.
//!
//! Hits and misses ask the collection [`GOOD`]; it writes to [`JOURNAL`], because a write ends the
//! cached answers of the collection that it changes, and hits would then be none. Its connections
//! are kept alive, except that each write opens one, as a new client would.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::{Client, RequestBuilder, StatusCode};
use tokio::task::JoinSet;

use crate::client;
use crate::commands::soak::experiment::texts;
use crate::commands::soak::experiment::world::{GOOD, JOURNAL};
use crate::traffic::outcome::{self, Counts, Outcome};
use crate::traffic::schedule::{Clock, Real, open_loop};

const HITS_PER_SECOND: u32 = 200;
const MISSES_PER_SECOND: u32 = 10;
const WRITES_PER_SECOND: u32 = 1;
/// How many questions are asked over and over.
const WARM_QUESTIONS: u32 = 200;
/// Longer than any limit of the server's.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Shorter than the server keeps an idle connection, so that a request never meets one that is
/// being closed.
const IDLE: Duration = Duration::from_secs(20);

/// What the good client has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) hits: Kind,
    pub(super) misses: Kind,
    pub(super) writes: Kind,
}

/// What became of the requests of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Kind {
    /// How long those took that succeeded, in ascending order.
    pub(super) times: Vec<Duration>,
    /// How the others ended.
    pub(super) errors: Counts,
    /// How many successful answers did not come from the cache.
    pub(super) not_hits: u64,
    /// How many writes were durable but could not be searched in time (202). That is no error, but
    /// the client has waited for as long as the server lets it.
    pub(super) late: u64,
}

impl Kind {
    fn add(&mut self, outcome: &Outcome, time: Duration) {
        if outcome.status.is_some_and(|status| status.is_success()) {
            self.times.push(time);
            self.not_hits += u64::from(!outcome.cache.is_hit());
            self.late += u64::from(outcome.status == Some(StatusCode::ACCEPTED));
        } else {
            self.errors.add(outcome.label.as_str());
        }
    }
}

/// A client with a warm set.
pub(super) struct GoodClient {
    kept: Client,
    fresh: Client,
    base: String,
}

impl GoodClient {
    /// Opens connections, and asks the warm set once.
    pub(super) async fn prepare(address: SocketAddr) -> Result<Self> {
        let builder = || client::http().timeout(TIMEOUT).pool_idle_timeout(IDLE);
        let good = Self {
            kept: builder().build()?,
            fresh: builder().pool_max_idle_per_host(0).build()?,
            base: format!("http://{address}/v1"),
        };
        for number in 0..WARM_QUESTIONS {
            let answer = outcome::send(good.hit(number)).await;
            let is_answered = answer.status == Some(StatusCode::OK);
            ensure!(is_answered, "a question of the warm set was answered {}", answer.label);
        }
        Ok(good)
    }

    /// Sends requests for `warm` and then for `measured`, and returns what became of the latter.
    pub(super) async fn run(self, warm: Duration, measured: Duration) -> Seen {
        let clock = Real::start();
        let end = warm + measured;
        let (hits, misses, writes) = tokio::join!(
            drive(clock, HITS_PER_SECOND, warm, end, |number| self.hit(number)),
            drive(clock, MISSES_PER_SECOND, warm, end, |_| self.miss()),
            drive(clock, WRITES_PER_SECOND, warm, end, |_| self.write()),
        );
        Seen { hits, misses, writes }
    }

    fn hit(&self, number: u32) -> RequestBuilder {
        let question = texts::warm_question(GOOD, number % WARM_QUESTIONS);
        self.kept.post(format!("{}/pipelines/search", self.base)).json(&question)
    }

    fn miss(&self) -> RequestBuilder {
        let question = texts::new_question(GOOD);
        self.kept.post(format!("{}/pipelines/search", self.base)).json(&question)
    }

    fn write(&self) -> RequestBuilder {
        let document = texts::ndjson([texts::document(texts::number())]);
        self.fresh
            .post(format!("{}/collections/{JOURNAL}/documents", self.base))
            .header("content-type", "application/x-ndjson")
            .body(document)
    }
}

/// Sends requests at a rate, and waits for those that are still in flight at the end.
async fn drive(
    clock: Real,
    per_second: u32,
    warm: Duration,
    end: Duration,
    request: impl Fn(u32) -> RequestBuilder,
) -> Kind {
    let mut answers = JoinSet::new();
    let mut kind = Kind::default();
    open_loop(&clock, per_second, end, |number, from| {
        let request = request(number);
        answers.spawn(async move {
            let outcome = outcome::send(request).await;
            (from, clock.now(), outcome)
        });
    })
    .await;
    // A task that panicked has no answer; there is no code in it that could.
    while let Some(Ok((from, answered, outcome))) = answers.join_next().await {
        if from >= warm {
            kind.add(&outcome, answered.saturating_sub(from));
        }
    }
    kind.times.sort_unstable();
    kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::cache_status::CacheStatus;

    #[test]
    fn only_success_has_a_time() {
        let mut kind = Kind::default();
        let outcome = |status, cache| Outcome { status, label: "a label".into(), cache };
        let second = Duration::from_secs(1);
        kind.add(&outcome(Some(StatusCode::OK), CacheStatus::Memory), second);
        kind.add(&outcome(Some(StatusCode::ACCEPTED), CacheStatus::Miss), second * 2);
        kind.add(&outcome(Some(StatusCode::SERVICE_UNAVAILABLE), CacheStatus::Absent), second * 3);
        kind.add(&outcome(None, CacheStatus::Absent), second * 4);
        assert_eq!(kind.times, [second, second * 2]);
        assert_eq!((kind.errors.total(), kind.not_hits, kind.late), (2, 1, 1));
    }
}
