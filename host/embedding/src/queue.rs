//! The bounded queue in front of a model: texts that wait to be read, and tokens that wait to be
//! embedded.
//!
//! A text is admitted to its lane before anything is done with it, and uses room there until a
//! session takes its tokens. A text that nobody waits for any more is dropped where it is, and its
//! room is free at once. Only what a thread is working on is finished: the tokens of one text, or
//! a batch. Out of scope: the threads, and what they do, which is in the pool.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::batch::Gathering;
use super::fair::{Fair, Offer, Place};
use super::room::Room;
use super::tokenizer::Tokens;
use super::{EmbedError, Embedded, Lane, Origin};

/// The result for one text.
pub(super) type Answer = Result<Embedded, EmbedError>;

/// A text that is to be turned into tokens.
pub(super) struct Unread {
    place: Place,
    pub(super) text: Arc<str>,
    reply: oneshot::Sender<Answer>,
}

/// The tokens of a text, in the queue or in a batch.
pub(super) struct Job {
    pub(super) tokens: Tokens,
    reply: oneshot::Sender<Answer>,
}

impl Job {
    pub(super) fn answer(self, answer: Answer) {
        // The caller may have left; the result is then dropped.
        let _ = self.reply.send(answer);
    }
}

/// Waits for the answer for one text. Dropping it takes the text out of the queue.
pub(super) struct Waiting {
    queue: Arc<Queue>,
    place: Place,
    answer: oneshot::Receiver<Answer>,
    is_answered: bool,
}

impl Future for Waiting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        self.is_answered = true;
        Poll::Ready(answer.unwrap_or_else(|_| Err(stopped())))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_answered {
            // First, so that a thread that is reading the text does not put it back.
            self.answer.close();
            self.queue.abandon(&self.place);
        }
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
    state: Mutex<State>,
    to_read: Condvar,
    to_embed: Condvar,
    /// Notified when there is more room for the catch-up, which waits for it.
    room: Notify,
    bounds: Bounds,
    pub(super) counters: Counters,
}

struct State {
    rooms: [Room; Lane::ALL.len()],
    /// Texts cost their bytes here.
    unread: Fair<Unread>,
    /// Texts cost their tokens here, with the padding of their batch.
    ready: Fair<Job>,
    admitted: u64,
    closed: bool,
}

impl State {
    /// How many of `texts` have room.
    fn open_to(&self, origin: &Origin, texts: usize) -> Result<usize, EmbedError> {
        if self.closed {
            return Err(stopped());
        }
        Ok(self.rooms[origin.lane.index()].open_to(&origin.caller).min(texts))
    }
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State {
            rooms: Lane::ALL.map(|_| Room::new(bounds.max_queued_texts)),
            unread: Fair::default(),
            ready: Fair::default(),
            admitted: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            to_read: Condvar::new(),
            to_embed: Condvar::new(),
            room: Notify::new(),
            bounds,
            counters: Counters::default(),
        }
    }

    /// Queues all of the texts or none.
    pub(super) fn admit(
        self: &Arc<Self>,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Waiting>, EmbedError> {
        let mut state = self.state.lock();
        if state.open_to(origin, texts.len())? < texts.len() {
            count(&self.counters.refused_texts, texts.len());
            return Err(EmbedError::Overloaded);
        }
        Ok(self.push(&mut state, texts, origin))
    }

    /// Queues all of the texts, each when there is room.
    pub(super) async fn admit_in_time(
        self: &Arc<Self>,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Vec<Waiting>, EmbedError> {
        let mut waiting = Vec::with_capacity(texts.len());
        while waiting.len() < texts.len() {
            let rest = &texts[waiting.len()..];
            let mut more_room = pin!(self.room.notified());
            // Before the look, so that nothing that happens after it is missed.
            more_room.as_mut().enable();
            let admitted = {
                let mut state = self.state.lock();
                let open = state.open_to(origin, rest.len())?;
                self.push(&mut state, &rest[..open], origin)
            };
            if admitted.is_empty() {
                more_room.await;
            }
            waiting.extend(admitted);
        }
        Ok(waiting)
    }

    fn push(
        self: &Arc<Self>,
        state: &mut State,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Vec<Waiting> {
        if texts.is_empty() {
            return Vec::new();
        }
        state.rooms[origin.lane.index()].take(&origin.caller, texts.len());
        let waiting = texts.iter().map(|text| {
            let (reply, answer) = oneshot::channel();
            state.admitted += 1;
            let place = Place { origin: origin.clone(), number: state.admitted };
            let unread = Unread { place: place.clone(), text: Arc::clone(text), reply };
            state.unread.push(&place, unread);
            Waiting { queue: Arc::clone(self), place, answer, is_answered: false }
        });
        let waiting = waiting.collect();
        self.to_read.notify_all();
        waiting
    }

    fn give_back(&self, state: &mut State, origin: &Origin) {
        state.rooms[origin.lane.index()].give_back(&origin.caller);
        if origin.lane == Lane::CatchUp {
            self.room.notify_waiters();
        }
    }

    /// Drops a text that nobody waits for, unless it is being read or embedded.
    fn abandon(&self, place: &Place) {
        let mut state = self.state.lock();
        let unread = state.unread.remove(place).is_some();
        if unread || state.ready.remove(place).is_some() {
            self.give_back(&mut state, &place.origin);
            count(&self.counters.abandoned_texts, 1);
        }
    }

    /// Waits for a text to read; `None` once the queue is closed.
    pub(super) fn next_unread(&self) -> Option<Unread> {
        let mut state = self.state.lock();
        while !state.closed {
            let Some(lane) = state.unread.next_lane() else {
                self.to_read.wait(&mut state);
                continue;
            };
            let cost = |unread: &Unread| 1 + unread.text.len() as u64;
            let one = |unread: &Unread| Offer::Taken { cost: cost(unread), last: true };
            if let Some((place, unread)) = state.unread.take(lane, one).pop() {
                state.unread.charge(&place.origin, cost(&unread));
                return Some(unread);
            }
        }
        None
    }

    /// Puts the tokens of a text into the queue, unless it cannot be embedded or nobody waits for
    /// it any more.
    pub(super) fn read(&self, unread: Unread, tokens: Result<Tokens, EmbedError>) {
        let Unread { place, reply, .. } = unread;
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        match tokens {
            Ok(tokens) if !reply.is_closed() => {
                state.ready.push(&place, Job { tokens, reply });
                self.to_embed.notify_one();
            }
            Ok(_) => {
                self.give_back(&mut state, &place.origin);
                count(&self.counters.abandoned_texts, 1);
            }
            Err(error) => {
                self.give_back(&mut state, &place.origin);
                // The caller may have left.
                let _ = reply.send(Err(error));
            }
        }
    }

    /// Waits for tokens and takes a batch of them, never empty; `None` once the queue is closed.
    pub(super) fn next_batch(&self) -> Option<Vec<Job>> {
        let mut state = self.state.lock();
        while !state.closed {
            match state.ready.next_lane() {
                Some(lane) => return Some(self.gather(&mut state, lane)),
                None => self.to_embed.wait(&mut state),
            }
        }
        None
    }

    /// Takes the next text and, up to a batch, texts of the lane of about the same length.
    fn gather(&self, state: &mut State, lane: Lane) -> Vec<Job> {
        let max_rows = state.ready.len(lane).div_ceil(self.bounds.sessions);
        let mut gathering: Option<Gathering> = None;
        let taken = state.ready.take(lane, |job: &Job| {
            let tokens = job.tokens.count();
            let gathering = match &mut gathering {
                Some(gathering) => {
                    if !gathering.admit(tokens) {
                        return Offer::Left;
                    }
                    gathering
                }
                None => {
                    let max_tokens = self.bounds.max_batch_tokens;
                    gathering.insert(Gathering::new(tokens, max_rows, max_tokens))
                }
            };
            Offer::Taken { cost: tokens as u64, last: gathering.is_full() }
        });
        let columns = taken.iter().map(|(_, job)| job.tokens.count()).max().unwrap_or(0);
        let jobs = taken.into_iter().map(|(place, job)| {
            state.ready.charge(&place.origin, columns as u64);
            self.give_back(state, &place.origin);
            job
        });
        jobs.collect()
    }

    /// Refuses new texts, drops waiting ones, and lets the threads end.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.unread.clear();
        state.ready.clear();
        drop(state);
        self.room.notify_waiters();
        self.to_read.notify_all();
        self.to_embed.notify_all();
    }

    /// Whether the readers have all texts.
    #[cfg(test)]
    pub(super) fn is_being_read(&self) -> bool {
        self.state.lock().unread.next_lane().is_none()
    }

    /// Whether all texts in the queue are read.
    #[cfg(test)]
    pub(super) fn is_read(&self) -> bool {
        let state = self.state.lock();
        let used: usize = state.rooms.iter().map(Room::used).sum();
        used == Lane::ALL.iter().map(|&lane| state.ready.len(lane)).sum::<usize>()
    }
}

pub(super) fn stopped() -> EmbedError {
    EmbedError::Failed("it was stopped".into())
}

pub(super) fn count(counter: &AtomicU64, texts: usize) {
    counter.fetch_add(texts as u64, Ordering::Relaxed);
}
