//! How much work of one kind is done at once, and what waits in front of it.
//!
//! Work that has passed the gate competes for the same threads and queues. Up to a point, more of it at
//! once gets more done; beyond that, each takes longer and nothing is gained. [`limit`] finds that
//! point while the work goes on. What comes then waits here, in a queue that callers share by turns; and
//! what would wait here for too long is refused when it comes, while it has cost nothing.
//!
//! Work may wait for as long as the gate's patience. But if there is an [`excess`], more of it than can be
//! done, a longer queue would only make everybody wait longer ("Controlling queue delay", Nichols and
//! Jacobson, 2012): then nobody waits longer than the work takes, or a part of the patience.
//!
//! Out of scope: what the work is, and whether it fits among that of others ([`shares`](crate::shares)).

mod excess;
mod limit;

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thiserror::Error;

use self::excess::Excess;
use self::limit::Limit;
use crate::shares::{Crowded, Share, Shares};
use crate::waited::Waited;

/// One caller may do two thirds of what is done at once, so that another one finds a place.
const GENEROSITY: usize = 2;
/// The most callers that wait with the same key.
const MAX_WAITING: usize = 1_024;
/// While more comes than can be done, nobody waits longer than the work takes, so that it takes twice as long
/// at most; or than this part of the gate's patience: a client with a hundred connections that asks for what
/// takes less than a millisecond does no harm, and must not be refused.
const PART_OF_PATIENCE: u32 = 10;

/// How much may be done at once, and how long it may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At least so much at once, however it goes.
    pub least: usize,
    /// At most so much at once.
    pub most: usize,
    /// The longest that something may have to wait.
    pub patience: Duration,
}

/// Lets work in, of callers with keys. Clones are the same gate.
#[derive(Debug)]
pub struct Gate<K: Hash + Eq + Clone> {
    inner: Arc<Inner<K>>,
}

#[derive(Debug)]
struct Inner<K: Hash + Eq + Clone> {
    places: Shares<K>,
    state: Mutex<State>,
    /// How much work has come to the gate.
    came: AtomicU64,
    waited: Waited,
    patience: Duration,
}

#[derive(Debug)]
struct State {
    limit: Limit,
    excess: Excess,
}

/// Work that came to a gate and was not refused.
#[derive(Debug)]
pub enum Entry<K: Hash + Eq + Clone> {
    /// It is let in.
    Now(Pass<K>),
    /// It has to wait.
    Later(Later<K>),
}

/// Work that has to wait at a gate.
#[derive(Debug)]
#[must_use = "the work has no place in the queue until this is waited for"]
pub struct Later<K: Hash + Eq + Clone> {
    gate: Gate<K>,
    key: K,
}

/// Work that has been let in, until this is dropped.
#[derive(Debug)]
#[must_use = "the work is over when it is dropped"]
pub struct Pass<K: Hash + Eq + Clone> {
    gate: Arc<Inner<K>>,
    began: Instant,
    _place: Share<K>,
}

/// The work would have to wait for too long.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("more work waits than can be done in time")]
pub struct Refused;

impl<K: Hash + Eq + Clone> Clone for Gate<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Hash + Eq + Clone> Gate<K> {
    /// A gate for work that adds to `waited` for how long it waits behind the gate.
    #[must_use]
    pub fn new(bounds: Bounds, waited: Waited) -> Self {
        let limit = Limit::new(bounds.least, bounds.most, waited.total());
        let places = Shares::new(limit.now(), GENEROSITY, MAX_WAITING);
        let state = Mutex::new(State { limit, excess: Excess::default() });
        let (came, patience) = (AtomicU64::new(0), bounds.patience);
        Self { inner: Arc::new(Inner { places, state, came, waited, patience }) }
    }

    /// Lets work with this key in, or has it wait.
    ///
    /// # Errors
    /// It would have to wait for too long.
    pub fn enter(&self, key: &K) -> Result<Entry<K>, Refused> {
        self.inner.came.fetch_add(1, Relaxed);
        match self.inner.places.try_take(key, 1, 1) {
            Some(place) => Ok(Entry::Now(self.pass(place))),
            None if self.inner.is_in_time(key) => {
                Ok(Entry::Later(Later { gate: self.clone(), key: key.clone() }))
            }
            None => Err(Refused),
        }
    }

    fn pass(&self, place: Share<K>) -> Pass<K> {
        Pass { gate: Arc::clone(&self.inner), began: Instant::now(), _place: place }
    }

    /// How much may be done at once now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.inner.state.lock().limit.now()
    }
}

impl<K: Hash + Eq + Clone> Later<K> {
    /// Waits until the work is let in. It has a place in the queue from when this is polled, and gives it
    /// up when this is dropped.
    ///
    /// # Errors
    /// Too much work with the same key waits.
    pub async fn entered(self) -> Result<Pass<K>, Refused> {
        let place = self.gate.inner.places.take(&self.key, 1, 1).await;
        place.map(|place| self.gate.pass(place)).map_err(|Crowded| Refused)
    }
}

impl<K: Hash + Eq + Clone> Inner<K> {
    /// Whether work with this key that has to wait from now on would not wait for too long.
    fn is_in_time(&self, key: &K) -> bool {
        let mut state = self.state.lock();
        state.limit.reached();
        let typical = state.limit.typical();
        let longest = if state.excess.lasts() {
            typical.max(self.patience / PART_OF_PATIENCE).min(self.patience)
        } else {
            self.patience
        };
        let before = u32::try_from(self.places.ahead(key) + 1).unwrap_or(u32::MAX);
        let at_once = u32::try_from(state.limit.now()).unwrap_or(u32::MAX);
        typical.saturating_mul(before) / at_once <= longest
    }
}

impl<K: Hash + Eq + Clone> Drop for Pass<K> {
    fn drop(&mut self) {
        let Inner { places, state, came, waited, .. } = &*self.gate;
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        let mut state = state.lock();
        if places.is_waited_for() {
            state.excess.ended(now, came.load(Relaxed));
        } else {
            // What came is done. What comes next, perhaps much later, is not more of it.
            state.excess = Excess::default();
        }
        // While the state is locked, so that a later change is also made later.
        if let Some(limit) = state.limit.ended(now, took, waited.total()) {
            places.resize(limit);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::pin::pin;
    use std::thread::sleep;

    use futures::poll;

    use super::*;

    fn gate(least: usize, most: usize) -> Gate<&'static str> {
        let patience = Duration::from_secs(3_600);
        Gate::new(Bounds { least, most, patience }, Waited::default())
    }

    /// Notes that work took so long, so that the next is expected to take as long.
    fn took(gate: &Gate<&'static str>, time: Duration) {
        gate.inner.state.lock().limit.ended(Instant::now(), time, Duration::ZERO);
    }

    /// Notes that more work has come than was done, for long enough.
    fn exceed(gate: &Gate<&'static str>) {
        let excess = &mut gate.inner.state.lock().excess;
        let (mut now, mut came) = (Instant::now(), 0);
        while !excess.lasts() {
            excess.ended(now, came);
            now += Duration::from_millis(10);
            came += 2;
        }
    }

    /// Waits to be let in.
    async fn later(gate: &Gate<&'static str>, key: &'static str) -> Pass<&'static str> {
        match gate.enter(&key).unwrap() {
            Entry::Now(_) => panic!("it need not wait"),
            Entry::Later(later) => later.entered().await.unwrap(),
        }
    }

    /// Lets in as much as is let in at once, and has more ask for it.
    async fn enter_all(gate: &Gate<&'static str>, key: &'static str) -> Vec<Pass<&'static str>> {
        let mut passes = Vec::new();
        loop {
            match gate.enter(&key).unwrap() {
                Entry::Now(pass) => passes.push(pass),
                Entry::Later(_) => return passes,
            }
        }
    }

    #[tokio::test]
    async fn a_greedy_caller_leaves_a_place_and_does_not_keep_another_waiting() {
        let gate = gate(3, 6);
        let mut greedy = enter_all(&gate, "greedy").await;
        assert_eq!(greedy.len(), 4, "two thirds");
        let mut waits: Vec<_> = (0..100).map(|_| Box::pin(later(&gate, "greedy"))).collect();
        for wait in &mut waits {
            assert!(poll!(wait.as_mut()).is_pending());
        }
        let other = enter_all(&gate, "other").await;
        assert_eq!(other.len(), 2);
        let mut next = pin!(later(&gate, "other"));
        assert!(poll!(next.as_mut()).is_pending());
        greedy.clear();
        assert!(poll!(next.as_mut()).is_ready(), "before the hundred");
    }

    #[tokio::test]
    async fn what_cannot_be_done_in_time_is_refused_when_it_comes() {
        let bounds = Bounds { least: 1, most: 1, patience: Duration::from_millis(1_200) };
        let gate = Gate::new(bounds, Waited::default());
        took(&gate, Duration::from_millis(60));
        let held = enter_all(&gate, "a").await;
        exceed(&gate);
        let mut waits = pin!(later(&gate, "a"));
        assert!(poll!(waits.as_mut()).is_pending(), "as long as it takes");
        let mut second = pin!(later(&gate, "a"));
        assert!(poll!(second.as_mut()).is_pending(), "a tenth of the patience");
        assert_eq!(gate.enter(&"a").err(), Some(Refused), "three times what it takes");
        // Another caller is the next.
        let mut other = pin!(later(&gate, "b"));
        assert!(poll!(other.as_mut()).is_pending());
        drop(held);
        for next in [other, waits, second] {
            drop(next.await);
        }
        assert!(!gate.inner.state.lock().excess.lasts(), "nobody waits any more");
    }

    #[tokio::test]
    async fn without_an_excess_what_comes_may_wait_for_as_long_as_the_patience() {
        let bounds = Bounds { least: 1, most: 1, patience: Duration::from_millis(1_200) };
        let gate = Gate::new(bounds, Waited::default());
        took(&gate, Duration::from_millis(60));
        let _held = enter_all(&gate, "a").await;
        let mut waits: Vec<_> = (0..20).map(|_| Box::pin(later(&gate, "a"))).collect();
        for wait in &mut waits {
            assert!(poll!(wait.as_mut()).is_pending());
        }
        assert_eq!(gate.enter(&"a").err(), Some(Refused), "21 times 60 ms");
    }

    #[tokio::test]
    async fn nobody_waits_beyond_the_patience_even_without_an_excess() {
        let bounds = Bounds { least: 1, most: 1, patience: Duration::ZERO };
        let gate = Gate::new(bounds, Waited::default());
        took(&gate, Duration::from_millis(1));
        let _held = gate.enter(&"a").unwrap();
        assert_eq!(gate.enter(&"a").err(), Some(Refused));
    }

    #[tokio::test]
    async fn the_limit_follows_how_long_work_waits() {
        let waited = Waited::default();
        let patience = Duration::from_secs(3_600);
        let gate = Gate::new(Bounds { least: 1, most: 64, patience }, waited.clone());
        let before = gate.limit();
        let began = Instant::now();
        while gate.limit() <= before {
            // As much as there may be, and one that waits, so that more is wanted.
            let passes = enter_all(&gate, "a").await;
            sleep(Duration::from_millis(1));
            drop(passes);
            assert!(began.elapsed() < Duration::from_secs(60), "it does not grow");
        }
        while gate.limit() > 1 {
            let passes = enter_all(&gate, "a").await;
            sleep(Duration::from_millis(1));
            waited.add(Duration::from_secs(1));
            drop(passes);
            assert!(began.elapsed() < Duration::from_secs(60), "it does not shrink");
        }
    }
}
