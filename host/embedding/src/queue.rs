//! The bounded queue in front of the sessions: two lanes, the interactive one served first.
//!
//! A full interactive lane refuses; the bulk lane makes its callers wait for room. Texts that
//! nobody waits for any more are dropped before they reach a session. Out of scope: starting
//! threads and running the model, which the pool does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::batch::Gathering;
use super::tokenizer::Tokens;
use super::{EmbedError, Embedding};

/// The result for one text.
pub(super) type Answer = Result<Embedding, EmbedError>;

/// One text in the queue or in a batch.
pub(super) struct Job {
    pub(super) tokens: Tokens,
    reply: oneshot::Sender<Answer>,
    /// Held only while queued: taking a job makes room for the next.
    room: Option<OwnedSemaphorePermit>,
}

impl Job {
    pub(super) fn new(tokens: Tokens) -> (Self, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        (Self { tokens, reply, room: None }, answer)
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    pub(super) fn answer(self, answer: Answer) {
        // The caller may have left; the result is then dropped.
        let _ = self.reply.send(answer);
    }
}

/// Limits of a queue and its batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The most texts that wait in each lane.
    pub(super) max_queued_texts: usize,
    /// The most tokens in a batch, including padding; a single text may exceed it.
    pub(super) max_batch_tokens: usize,
    /// How many sessions share the queue. A batch takes at most that fraction of a lane, so that
    /// idle sessions also get work.
    pub(super) sessions: usize,
}

/// Counts of batches, and of texts by what became of them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) batches: AtomicU64,
    pub(super) embedded_texts: AtomicU64,
    pub(super) abandoned_texts: AtomicU64,
    pub(super) refused_texts: AtomicU64,
}

pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    wake: Condvar,
    bulk_room: Arc<Semaphore>,
    bounds: Bounds,
    pub(super) counters: Counters,
}

#[derive(Default)]
struct Lanes {
    interactive: VecDeque<Job>,
    bulk: VecDeque<Job>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            lanes: Mutex::default(),
            wake: Condvar::new(),
            bulk_room: Arc::new(Semaphore::new(bounds.max_queued_texts)),
            bounds,
            counters: Counters::default(),
        }
    }

    /// Queues all of `jobs` or none.
    pub(super) fn push_interactive(&self, jobs: Vec<Job>) -> Result<(), EmbedError> {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Err(stopped());
        }
        let lane = &mut lanes.interactive;
        let fits = |lane: &VecDeque<Job>| lane.len() + jobs.len() <= self.bounds.max_queued_texts;
        if !fits(lane) {
            // Jobs of clients that gave up must not block others.
            let before = lane.len();
            lane.retain(|job| !job.is_abandoned());
            count(&self.counters.abandoned_texts, before - lane.len());
            if !fits(lane) {
                count(&self.counters.refused_texts, jobs.len());
                return Err(EmbedError::Overloaded);
            }
        }
        lane.extend(jobs);
        drop(lanes);
        self.wake.notify_all();
        Ok(())
    }

    /// Waits for room, then queues `job`.
    pub(super) async fn push_bulk(&self, mut job: Job) -> Result<(), EmbedError> {
        let room = Arc::clone(&self.bulk_room).acquire_owned().await.map_err(|_| stopped())?;
        job.room = Some(room);
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Err(stopped());
        }
        lanes.bulk.push_back(job);
        drop(lanes);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for texts and takes a batch of them, never empty; `None` once the queue is closed.
    pub(super) fn next_batch(&self) -> Option<Vec<Job>> {
        let mut lanes = self.lanes.lock();
        loop {
            if lanes.closed {
                return None;
            }
            let lane =
                if lanes.interactive.is_empty() { &mut lanes.bulk } else { &mut lanes.interactive };
            let batch = self.gather(lane);
            if !batch.is_empty() {
                return Some(batch);
            }
            if lanes.interactive.is_empty() && lanes.bulk.is_empty() {
                self.wake.wait(&mut lanes);
            }
        }
    }

    /// Takes the oldest text and, up to a batch, the texts behind it of about the same length.
    fn gather(&self, lane: &mut VecDeque<Job>) -> Vec<Job> {
        let max_rows = lane.len().div_ceil(self.bounds.sessions);
        let mut batch: Vec<Job> = Vec::new();
        let mut gathering: Option<Gathering> = None;
        let mut passed_over = VecDeque::new();
        while let Some(mut job) = lane.pop_front() {
            if job.is_abandoned() {
                count(&self.counters.abandoned_texts, 1);
                continue;
            }
            let tokens = job.tokens.count();
            let admitted = match &mut gathering {
                Some(gathering) => gathering.admit(tokens),
                None => {
                    let max_tokens = self.bounds.max_batch_tokens;
                    gathering = Some(Gathering::new(tokens, max_rows, max_tokens));
                    true
                }
            };
            if admitted {
                job.room = None;
                batch.push(job);
            } else {
                passed_over.push_back(job);
            }
            if gathering.as_ref().is_some_and(Gathering::is_full) {
                break;
            }
        }
        passed_over.append(lane);
        *lane = passed_over;
        batch
    }

    /// Refuses new texts, drops waiting ones, and lets the threads end.
    pub(super) fn close(&self) {
        let mut lanes = self.lanes.lock();
        lanes.closed = true;
        lanes.interactive.clear();
        lanes.bulk.clear();
        drop(lanes);
        self.bulk_room.close();
        self.wake.notify_all();
    }
}

pub(super) fn stopped() -> EmbedError {
    EmbedError::Failed("it was stopped".into())
}

pub(super) fn count(counter: &AtomicU64, texts: usize) {
    counter.fetch_add(texts as u64, Ordering::Relaxed);
}
