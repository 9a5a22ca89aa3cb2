//! The bounded queue in front of a model, and the batches that are taken from it.
//!
//! A text is admitted to its lane before anything is done with it. It is turned into tokens only
//! when its turn has come, by the session that embeds it, so a caller that sends many texts and
//! leaves has cost next to nothing. A text that nobody waits for any more leaves the queue, and its
//! room is free at once. Only what a session is working on is finished: the tokens of one text, or
//! a batch. Out of scope: the threads, and the model, which are in the pool.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::batch::Gathering;
use super::call::{Abandon, Call, Reply, Waiting, stopped};
use super::fair::{Fair, Offer, Place};
use super::room::Room;
use super::tokenizer::Tokens;
use super::{Answer, EmbedError, Lane, Origin};

/// How long a token is, roughly, in English.
const BYTES_PER_TOKEN: usize = 4;
/// Reading so many bytes of a text takes about as long as embedding a token.
const BYTES_READ_PER_TOKEN: usize = 256;

/// Turns a text into tokens. It must not panic.
pub(super) type Tokenize = dyn Fn(&str) -> Result<Tokens, EmbedError> + Send + Sync;

/// A text in the queue.
struct Text {
    text: Arc<str>,
    /// About how many tokens it has.
    expected: usize,
    /// Known if a batch has had no place for it.
    tokens: Option<Tokens>,
    since: Instant,
    reply: Reply,
}

/// A text in a batch.
pub(super) struct Job {
    pub(super) tokens: Tokens,
    reply: Reply,
}

/// A text whose turn has come, and what it was charged for that.
struct Turn {
    place: Place,
    text: Text,
    charged: u64,
}

/// A turn whose tokens are known.
struct Ready {
    place: Place,
    text: Arc<str>,
    charged: u64,
    job: Job,
}

impl Job {
    pub(super) fn answer(self, answer: Answer) {
        self.reply.send(answer);
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
    /// Notified when a text comes or comes back, and when the queue is closed.
    work: Condvar,
    /// Notified when there is more room for the catch-up, which waits for it.
    room: Notify,
    bounds: Bounds,
    pub(super) counters: Counters,
}

struct State {
    rooms: [Room; Lane::ALL.len()],
    /// Texts cost their tokens, with the padding of their batch.
    texts: Fair<Text>,
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

    /// Charges texts that were taken for what they will probably cost, so that their caller is not
    /// next again before they are in a batch.
    fn charged(&mut self, taken: Vec<(Place, Text)>) -> Vec<Turn> {
        let turns = taken.into_iter().map(|(place, text)| {
            let charged = text.expected as u64;
            text.reply.waited().add(text.since.elapsed());
            self.texts.charge(&place.origin, charged);
            Turn { place, text, charged }
        });
        turns.collect()
    }
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State {
            rooms: Lane::ALL.map(|_| Room::new(bounds.max_queued_texts)),
            texts: Fair::default(),
            admitted: 0,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
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
    ) -> Result<Waiting, EmbedError> {
        let (call, mut waiting) = self.waiting(texts, origin);
        let mut state = self.state.lock();
        if state.open_to(origin, texts.len())? < texts.len() {
            count(&self.counters.refused_texts, texts.len());
            return Err(EmbedError::Overloaded);
        }
        self.push(&mut state, texts, origin, &call, &mut waiting);
        Ok(waiting)
    }

    /// Queues all of the texts, each when there is room.
    pub(super) async fn admit_in_time(
        self: &Arc<Self>,
        texts: &[Arc<str>],
        origin: &Origin,
    ) -> Result<Waiting, EmbedError> {
        let (call, mut waiting) = self.waiting(texts, origin);
        while waiting.added() < texts.len() {
            let rest = &texts[waiting.added()..];
            let mut more_room = pin!(self.room.notified());
            // Before the look, so that nothing that happens after it is missed.
            more_room.as_mut().enable();
            let open = {
                let mut state = self.state.lock();
                let open = state.open_to(origin, rest.len())?;
                self.push(&mut state, &rest[..open], origin, &call, &mut waiting);
                open
            };
            if open == 0 {
                more_room.await;
            }
        }
        Ok(waiting)
    }

    fn waiting(self: &Arc<Self>, texts: &[Arc<str>], origin: &Origin) -> (Arc<Call>, Waiting) {
        let queue: Arc<dyn Abandon> = self.clone();
        Waiting::new(queue, origin, texts.len())
    }

    /// Queues the next texts of a call.
    fn push(
        &self,
        state: &mut State,
        texts: &[Arc<str>],
        origin: &Origin,
        call: &Arc<Call>,
        waiting: &mut Waiting,
    ) {
        if texts.is_empty() {
            return;
        }
        state.rooms[origin.lane.index()].take(&origin.caller, texts.len());
        let since = Instant::now();
        let items = texts.iter().map(|text| {
            let reply = Reply::new(call, waiting.added());
            state.admitted += 1;
            waiting.add(state.admitted);
            // Longer text is refused when it is read, which costs little.
            let expected = (1 + text.len() / BYTES_PER_TOKEN).min(self.bounds.max_batch_tokens);
            (state.admitted, Text { text: Arc::clone(text), expected, tokens: None, since, reply })
        });
        state.texts.push(origin, items);
        self.work.notify_all();
    }

    fn give_back(&self, state: &mut State, origin: &Origin, texts: usize) {
        state.rooms[origin.lane.index()].give_back(&origin.caller, texts);
        if origin.lane == Lane::CatchUp {
            self.room.notify_waiters();
        }
    }

    /// Waits for texts and takes a batch of them, never empty; `None` once the queue is closed.
    pub(super) fn next_batch(&self, tokenize: &Tokenize) -> Option<Vec<Job>> {
        loop {
            let turn = self.next_turn()?;
            if let Some(first) = self.read(turn, tokenize) {
                return Some(self.gather(first, tokenize));
            }
        }
    }

    /// Waits for the text whose turn it is.
    fn next_turn(&self) -> Option<Turn> {
        let mut state = self.state.lock();
        while !state.closed {
            let Some(lane) = state.texts.next_lane() else {
                self.work.wait(&mut state);
                continue;
            };
            let taken = state
                .texts
                .take(lane, |text| Offer::Taken { cost: text.expected as u64, last: true });
            if let Some(turn) = state.charged(taken).pop() {
                return Some(turn);
            }
        }
        None
    }

    /// The tokens of a text whose turn has come. Answers it if it cannot be embedded, and drops it if
    /// nobody waits for it.
    fn read(&self, turn: Turn, tokenize: &Tokenize) -> Option<Ready> {
        let Turn { place, text: Text { text, tokens, reply, .. }, charged } = turn;
        let mut cost = 0;
        let tokens = match tokens {
            _ if reply.is_left() => None,
            Some(tokens) => Some(Ok(tokens)),
            None => {
                cost = 1 + text.len() / BYTES_READ_PER_TOKEN;
                Some(tokenize(&text))
            }
        };
        // It may have been left while it was read.
        let error = match tokens.filter(|_| !reply.is_left()) {
            Some(Ok(tokens)) => {
                return Some(Ready { place, text, charged, job: Job { tokens, reply } });
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        let mut state = self.state.lock();
        state.texts.settle(&place.origin, charged, cost as u64);
        self.give_back(&mut state, &place.origin, 1);
        drop(state);
        match error {
            Some(error) => reply.send(Err(error)),
            None => count(&self.counters.abandoned_texts, 1),
        }
        None
    }

    /// Fills the batch that begins with `first` with texts of its lane of about the same length.
    fn gather(&self, first: Ready, tokenize: &Tokenize) -> Vec<Job> {
        let lane = first.place.origin.lane;
        let first_tokens = first.job.tokens.count();
        let (likely, max_rows) = self.likely(lane, first_tokens, first.text.len());
        let mut gathering = Gathering::new(first_tokens, max_rows, self.bounds.max_batch_tokens);
        let mut batch = vec![first];
        let mut left = Vec::new();
        for turn in likely {
            let Some(ready) = self.read(turn, tokenize) else { continue };
            let fits = gathering.admit(ready.job.tokens.count());
            if fits { &mut batch } else { &mut left }.push(ready);
        }
        let columns = batch.iter().map(|ready| ready.job.tokens.count()).max().unwrap_or(0);
        let mut state = self.state.lock();
        for ready in left {
            self.put_back(&mut state, ready);
        }
        let jobs = batch.into_iter().map(|Ready { place, charged, job, .. }| {
            state.texts.settle(&place.origin, charged, columns as u64);
            self.give_back(&mut state, &place.origin, 1);
            job
        });
        jobs.collect()
    }

    /// Takes the next texts of a lane that are about as long as one of so many tokens and bytes, as
    /// many as a batch holds. Returns the most texts of the batch, too.
    fn likely(&self, lane: Lane, tokens: usize, bytes: usize) -> (Vec<Turn>, usize) {
        let mut state = self.state.lock();
        let max_rows = (1 + state.texts.len(lane)).div_ceil(self.bounds.sessions);
        let mut gathering = Gathering::new(tokens, max_rows, self.bounds.max_batch_tokens);
        if gathering.is_full() {
            return (Vec::new(), max_rows);
        }
        let taken = state.texts.take(lane, |text| {
            let expected = match &text.tokens {
                Some(tokens) => tokens.count(),
                None => (text.text.len() * tokens).div_ceil(bytes.max(1)),
            };
            if gathering.admit(expected) {
                Offer::Taken { cost: text.expected as u64, last: gathering.is_full() }
            } else {
                Offer::Left
            }
        });
        (state.charged(taken), max_rows)
    }

    /// Gives a text its place in the queue back.
    fn put_back(&self, state: &mut State, ready: Ready) {
        let Ready { place, text, charged, job: Job { tokens, reply } } = ready;
        state.texts.settle(&place.origin, charged, 0);
        if reply.is_left() {
            self.give_back(state, &place.origin, 1);
            count(&self.counters.abandoned_texts, 1);
        } else if !state.closed {
            let (expected, since) = (tokens.count(), Instant::now());
            let tokens = Some(tokens);
            let text = Text { text, expected, tokens, since, reply };
            state.texts.push(&place.origin, [(place.number, text)]);
            self.work.notify_one();
        }
    }

    /// Refuses new texts, drops waiting ones, and lets the threads end.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.texts.clear();
        drop(state);
        self.room.notify_waiters();
        self.work.notify_all();
    }

    /// The texts that no session has.
    #[cfg(test)]
    pub(super) fn waiting_texts(&self) -> usize {
        let state = self.state.lock();
        Lane::ALL.into_iter().map(|lane| state.texts.len(lane)).sum()
    }
}

impl Abandon for Queue {
    fn abandon(&self, origin: &Origin, numbers: &[u64]) {
        if numbers.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let left = state.texts.remove(origin, numbers);
        if !left.is_empty() {
            self.give_back(&mut state, origin, left.len());
            count(&self.counters.abandoned_texts, left.len());
        }
        // Before the texts, whose memory takes time to free.
        drop(state);
    }
}

pub(super) fn count(counter: &AtomicU64, texts: usize) {
    counter.fetch_add(texts as u64, Ordering::Relaxed);
}
