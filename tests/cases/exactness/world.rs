//! What the tasks of one run share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::log::{Entry, Ledger};
use super::plan::Plan;
use super::position::Stated;
use super::question::{Mode, Question};
use super::tally::{Kind, Tally, add};
use super::vectors::Vectors;
use super::words::Rng;
use crate::harness::{Answer, Client};

/// Questions that are asked again and again.
const HOT: usize = 4;
/// How long a dropped collection waits for somebody to see that it is gone.
const ABSENT: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(4);

/// What the tasks of one run share.
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    pub(super) vectors: Vectors,
    /// The tasks end after what they are doing.
    pub(super) stop: AtomicBool,
    /// The server is about to end, so broken connections are expected.
    pub(super) ending: AtomicBool,
    /// Whether no answer may be an error of the server's (5xx).
    answers_all: bool,
    /// The write without an `Idempotency-Key` that is under way.
    pub(super) keyless: tokio::sync::Mutex<Option<Entry>>,
    /// Locked for writing while the collection does not exist.
    pub(super) drops: tokio::sync::RwLock<()>,
    pub(super) collections: Vec<String>,
    /// What questions are about: one collection, or two.
    pub(super) subjects: Vec<Vec<String>>,
    pub(super) hot: Vec<Arc<Question>>,
    texts: Mutex<Vec<String>>,
}

impl World {
    /// What is shared by the tasks of a run over these collections.
    pub(super) fn new(collections: &[&str], plan: &Plan, rng: &mut Rng) -> Self {
        let collections: Vec<_> = collections.iter().map(|&name| name.to_owned()).collect();
        let mut subjects: Vec<_> = collections.iter().map(|name| vec![name.clone()]).collect();
        if collections.len() == 2 {
            // Half of the questions are about both.
            subjects.extend([collections.clone(), collections.clone()]);
        }
        let hot = (0..HOT).map(|number| {
            let subject = subjects[number % subjects.len()].clone();
            Arc::new(Question::random(rng, subject))
        });
        Self {
            hot: hot.collect(),
            ledger: Ledger::allowing_old(plan.old_allowed),
            tally: Tally::default(),
            vectors: Vectors::default(),
            stop: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            answers_all: plan.is_disturbed(),
            keyless: tokio::sync::Mutex::default(),
            drops: tokio::sync::RwLock::default(),
            collections,
            subjects,
            texts: Mutex::default(),
        }
    }

    /// Takes note of a request that was refused (503), in this counter.
    pub(super) fn refused(&self, counter: &AtomicU64, answer: &Answer) {
        add(counter);
        if self.answers_all && !self.ending.load(Ordering::SeqCst) {
            self.tally.violation(Kind::Failed, format!("refused: {answer:?}"));
        }
    }

    /// Takes note of a text whose vector the check will need. It is asked for soon, while the
    /// server still has it in its cache.
    pub(super) fn will_need(&self, text: &str) {
        self.texts.lock().unwrap().push(text.to_owned());
    }

    pub(super) fn will_ask(&self, question: &Question) {
        if question.mode != Mode::Keyword {
            self.will_need(&question.query);
        }
    }

    /// Waits until a reader was told that there is no such collection, for a while.
    pub(super) async fn until_absence_is_seen(&self) {
        let (began, before) = (Instant::now(), self.tally.absent.load(Ordering::Relaxed));
        while self.tally.absent.load(Ordering::Relaxed) == before && began.elapsed() < ABSENT {
            tokio::time::sleep(POLL).await;
        }
    }

    /// Looks at how far the log is, until the world stops or the server is gone. So it is known
    /// which answers were given while the index lagged.
    pub(super) async fn poll(self: Arc<Self>, client: Client) {
        while !self.stop.load(Ordering::Relaxed) {
            for path in ["/v1/collections", "/health/readiness"] {
                let Ok(answer) = Answer::try_to(client.request("GET", path)).await else { return };
                if let Ok(Stated::One(position)) = Stated::by(&answer) {
                    self.ledger.saw(position, &self.tally);
                }
                let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                if let Some(position) = body["truth"]["position"].as_u64() {
                    self.ledger.told(position);
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Fetches vectors that the check will need, until the world stops or the server is gone.
    pub(super) async fn embed(self: Arc<Self>, client: Client) {
        while !self.stop.load(Ordering::Relaxed) {
            let texts = std::mem::take(&mut *self.texts.lock().unwrap());
            let texts = texts.into_iter().filter(|text| !text.is_empty());
            if self.vectors.fetch(&client, texts).await.is_err() {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
