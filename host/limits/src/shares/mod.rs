//! Divides a limited resource among those who use it, so that none of them can take all of it:
//! guest slots among pipelines, memory for bodies among tenants, connections among clients.
//!
//! The rule is that of dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds
//! for shared-memory packet switches", 1998): a key may hold as many units as are *free*, times its
//! weight and the generosity of the resource. With a generosity of 1, one greedy key ends up with
//! half of the units, two with a third each, and `n` leave one part in `n + 1` for whoever comes
//! next. No key has to be announced, and nothing is set aside for keys that are not there.
//!
//! Units that become free go to the waiting key that holds the least for its weight, and within a
//! key to whoever has waited longest. Out of scope: how long to wait (put a timeout around
//! [`Shares::take`]), and what a unit stands for.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

/// Units of a resource that keys share. Clones divide the same units.
#[derive(Debug)]
pub struct Shares<K: Hash + Eq + Clone> {
    inner: Arc<Inner<K>>,
}

/// Units that a key holds, until this is dropped.
#[derive(Debug)]
#[must_use = "the units are free again when it is dropped"]
pub struct Share<K: Hash + Eq + Clone> {
    of: Arc<Inner<K>>,
    key: K,
    weight: usize,
    units: usize,
}

/// Too many callers wait with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many callers wait")]
pub struct Crowded;

#[derive(Debug)]
struct Inner<K: Hash + Eq + Clone> {
    state: Mutex<State<K>>,
    generosity: usize,
    max_waiting: usize,
}

#[derive(Debug)]
struct State<K: Hash + Eq + Clone> {
    /// How many units there are.
    total: usize,
    free: usize,
    /// How many of those that are held are given up when they come back.
    owed: usize,
    /// The keys that hold units or wait, and no others.
    keys: HashMap<K, Account<K>>,
    /// How many callers wait, including those that have left since.
    waiting: usize,
    /// Counts grants, to find the key that has waited longest.
    grants: u64,
}

#[derive(Debug)]
struct Account<K: Hash + Eq + Clone> {
    held: usize,
    waiting: VecDeque<Waiter<K>>,
    /// The number of the last grant.
    last_grant: u64,
}

#[derive(Debug)]
struct Waiter<K: Hash + Eq + Clone> {
    units: usize,
    weight: usize,
    reply: oneshot::Sender<Share<K>>,
}

impl<K: Hash + Eq + Clone> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K: Hash + Eq + Clone> Shares<K> {
    /// Divides `units`. A key may hold `generosity` times what is free, and at most `max_waiting`
    /// callers wait with the same key.
    #[must_use]
    pub fn new(units: usize, generosity: usize, max_waiting: usize) -> Self {
        let state = State {
            total: units,
            free: units,
            owed: 0,
            keys: HashMap::new(),
            waiting: 0,
            grants: 0,
        };
        let generosity = generosity.max(1);
        Self { inner: Arc::new(Inner { state: Mutex::new(state), generosity, max_waiting }) }
    }

    /// Takes `units` for `key` if it may have them now, and nobody waits with the same key.
    /// A key that holds nothing may take all that is free. `weight` multiplies what it may hold.
    #[must_use]
    pub fn try_take(&self, key: &K, weight: usize, units: usize) -> Option<Share<K>> {
        self.inner.state.lock().try_take(&self.inner, key, weight, units)
    }

    /// Takes `units` for `key` as soon as it may have them. Dropping the future gives up the place
    /// in the queue. Other keys' requests for fewer units may come first, and a caller that asks for
    /// more than there is waits forever.
    ///
    /// # Errors
    /// Too many callers wait with the same key.
    pub async fn take(&self, key: &K, weight: usize, units: usize) -> Result<Share<K>, Crowded> {
        let granted = {
            let mut state = self.inner.state.lock();
            if let Some(share) = state.try_take(&self.inner, key, weight, units) {
                return Ok(share);
            }
            state.enqueue(key, weight, units, self.inner.max_waiting)?
        };
        // The sender is in the queue until it is used, and the queue lives as long as `self`.
        granted.await.map_err(|_| Crowded)
    }

    /// Divides so many `units` from now on. Those that are held are kept until they are dropped, also
    /// if there are more.
    pub fn resize(&self, units: usize) {
        let mut state = self.inner.state.lock();
        let (more, fewer) = (units.saturating_sub(state.total), state.total.saturating_sub(units));
        state.total = units;
        state.put_back(more);
        let taken = fewer.min(state.free);
        state.free -= taken;
        state.owed += fewer - taken;
        drop(state);
        if more > 0 {
            self.inner.hand_out();
        }
    }

    /// How many callers would get what they ask for before one with this key that comes now, if those
    /// that wait ask for as much and are served in turn. Costs time in proportion to the number of keys.
    #[must_use]
    pub fn ahead(&self, key: &K) -> usize {
        let state = self.inner.state.lock();
        let of = |account: &Account<K>| {
            account.waiting.iter().filter(|waiter| !waiter.reply.is_closed()).count()
        };
        let own = state.keys.get(key).map_or(0, of);
        let others = state.keys.iter().filter(|(other, _)| *other != key);
        own + others.map(|(_, account)| of(account).min(own + 1)).sum::<usize>()
    }

    /// Whether a caller may wait. One that has left may be taken for one that waits until units become
    /// free.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.inner.state.lock().waiting > 0
    }

    /// How many units nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.inner.state.lock().free
    }

    /// How many units `key` holds.
    #[must_use]
    pub fn held(&self, key: &K) -> usize {
        self.inner.state.lock().keys.get(key).map_or(0, |account| account.held)
    }
}

impl<K: Hash + Eq + Clone> Share<K> {
    /// Takes `units` more if its key may have them now. `false` otherwise; nothing is taken then.
    #[must_use]
    pub fn try_grow(&mut self, units: usize) -> bool {
        let mut state = self.of.state.lock();
        let held = state.keys.get(&self.key).map_or(0, |account| account.held);
        if !state.may_have(held, self.weight, units, self.of.generosity) {
            return false;
        }
        state.add(&self.key, units);
        self.units += units;
        true
    }

    /// Gives back all but `units`.
    pub fn shrink_to(&mut self, units: usize) {
        let back = self.units.saturating_sub(units);
        self.units -= back;
        self.of.release(&self.key, back);
    }

    /// How many units it is.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units
    }
}

impl<K: Hash + Eq + Clone> Drop for Share<K> {
    fn drop(&mut self) {
        self.of.release(&self.key, self.units);
    }
}

impl<K: Hash + Eq + Clone> Inner<K> {
    fn release(self: &Arc<Self>, key: &K, units: usize) {
        let mut state = self.state.lock();
        state.put_back(units);
        if let Some(account) = state.keys.get_mut(key) {
            account.held -= units;
            if account.is_idle() {
                state.keys.remove(key);
            }
        }
        let somebody_waits = state.waiting > 0;
        drop(state);
        if somebody_waits {
            self.hand_out();
        }
    }

    /// Gives free units to those who wait and may have them.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            let Some(key) = state.next(self.generosity) else { return };
            let Some(account) = state.keys.get_mut(&key) else { return };
            let Some(waiter) = account.waiting.pop_front() else { return };
            state.waiting -= 1;
            let Waiter { units, weight, reply } = waiter;
            let share = state.grant(self, &key, weight, units);
            drop(state);
            // If the caller has left, the share comes back and is released here, not under the lock.
            drop(reply.send(share));
        }
    }
}

impl<K: Hash + Eq + Clone> State<K> {
    fn try_take(
        &mut self,
        of: &Arc<Inner<K>>,
        key: &K,
        weight: usize,
        units: usize,
    ) -> Option<Share<K>> {
        let (held, waits) =
            self.keys.get(key).map_or((0, false), |of| (of.held, !of.waiting.is_empty()));
        let may = !waits && self.may_have(held, weight, units, of.generosity);
        may.then(|| self.grant(of, key, weight, units))
    }

    fn enqueue(
        &mut self,
        key: &K,
        weight: usize,
        units: usize,
        max_waiting: usize,
    ) -> Result<oneshot::Receiver<Share<K>>, Crowded> {
        let account = self.keys.entry(key.clone()).or_insert_with(Account::new);
        if account.waiting.len() >= max_waiting {
            let before = account.waiting.len();
            account.waiting.retain(|waiter| !waiter.reply.is_closed());
            self.waiting -= before - account.waiting.len();
            if account.waiting.len() >= max_waiting {
                if account.is_idle() {
                    self.keys.remove(key);
                }
                return Err(Crowded);
            }
        }
        let (reply, granted) = oneshot::channel();
        account.waiting.push_back(Waiter { units, weight, reply });
        self.waiting += 1;
        Ok(granted)
    }

    fn may_have(&self, held: usize, weight: usize, units: usize, generosity: usize) -> bool {
        let most = self.free.saturating_mul(generosity).saturating_mul(weight.max(1));
        units <= self.free && (held == 0 || held.saturating_add(units) <= most)
    }

    /// Makes units free that nobody holds, except for those that are owed.
    fn put_back(&mut self, units: usize) {
        let paid = units.min(self.owed);
        self.owed -= paid;
        self.free += units - paid;
    }

    fn add(&mut self, key: &K, units: usize) {
        self.free -= units;
        self.grants += 1;
        let account = self.keys.entry(key.clone()).or_insert_with(Account::new);
        account.held += units;
        account.last_grant = self.grants;
    }

    fn grant(&mut self, of: &Arc<Inner<K>>, key: &K, weight: usize, units: usize) -> Share<K> {
        self.add(key, units);
        Share { of: Arc::clone(of), key: key.clone(), weight, units }
    }

    /// The key whose first waiting caller is next: of those that may have what they ask for, the one
    /// that holds the least for its weight, and then the one whose last grant is the oldest. Costs
    /// time in proportion to the number of keys.
    fn next(&mut self, generosity: usize) -> Option<K> {
        let mut gone = 0;
        for account in self.keys.values_mut() {
            while account.waiting.front().is_some_and(|waiter| waiter.reply.is_closed()) {
                account.waiting.pop_front();
                gone += 1;
            }
        }
        self.waiting -= gone;
        if gone > 0 {
            self.keys.retain(|_, account| !account.is_idle());
        }
        let fits = self.keys.iter().filter_map(|(key, account)| {
            let first = account.waiting.front()?;
            let may = self.may_have(account.held, first.weight, first.units, generosity);
            // In thousandths of a unit, so that weights count.
            let per_weight = account.held.saturating_mul(1_000) / first.weight.max(1);
            may.then_some(((per_weight, account.last_grant), key))
        });
        fits.min_by_key(|(rank, _)| *rank).map(|(_, key)| key.clone())
    }
}

impl<K: Hash + Eq + Clone> Account<K> {
    fn new() -> Self {
        Self { held: 0, waiting: VecDeque::new(), last_grant: 0 }
    }

    fn is_idle(&self) -> bool {
        self.held == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
