//! Single-flight: when many callers want the same value, one computes it and the others wait.
//!
//! The first to [`join`](SingleFlight::join) leads, and the others follow until it finishes. Move
//! the leader into a task of its own, so that the others are not affected if the first client
//! disconnects.
//!
//! Out of scope: how long to wait (each follower has its own deadline and puts it around
//! [`Follower::wait`]), and storing the value, which the leader does before it finishes.

use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The flights that have not finished yet.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    shared: Arc<Shared<K, V>>,
}

#[derive(Debug)]
struct Shared<K, V> {
    flights: Mutex<Flights<K, V>>,
    max_flights: usize,
    max_followers: usize,
}

/// The flights by key, each with a sender once anybody follows. When it is dropped without having sent
/// a value, the followers learn that they were abandoned.
type Flights<K, V> = HashMap<K, Option<Outcome<V>>>;
type Outcome<V> = watch::Sender<Option<V>>;

impl<K: Hash + Eq + Clone, V> Shared<K, V> {
    fn join(self: &Arc<Self>, flights: &mut Flights<K, V>, key: K) -> Flight<K, V> {
        let in_flight = flights.len();
        match flights.entry(key) {
            hash_map::Entry::Occupied(mut flight) => {
                let outcome = flight.get_mut().get_or_insert_default();
                if outcome.receiver_count() >= self.max_followers {
                    return Flight::Crowded;
                }
                Flight::Follow(Follower { outcome: outcome.subscribe() })
            }
            hash_map::Entry::Vacant(vacant) => {
                if in_flight >= self.max_flights {
                    return Flight::Crowded;
                }
                let key = vacant.key().clone();
                vacant.insert(None);
                Flight::Lead(Leader { shared: Arc::clone(self), key, is_over: false })
            }
        }
    }
}

/// What a caller has to do.
#[derive(Debug)]
pub enum Flight<K: Hash + Eq, V> {
    /// Compute, then [`Leader::finish`].
    Lead(Leader<K, V>),
    /// [`Follower::wait`].
    Follow(Follower<V>),
    /// A limit is reached: compute without sharing.
    Crowded,
}

impl<K: Hash + Eq + Clone, V: Clone> SingleFlight<K, V> {
    /// At most `max_flights` at once, each with at most `max_followers`.
    #[must_use]
    pub fn new(max_flights: usize, max_followers: usize) -> Self {
        let flights = Mutex::default();
        Self { shared: Arc::new(Shared { flights, max_flights, max_followers }) }
    }

    /// Joins the flight under this key, or starts one.
    #[must_use]
    pub fn join(&self, key: K) -> Flight<K, V> {
        self.shared.join(&mut self.shared.flights.lock(), key)
    }

    /// Joins the flight under each of these keys, or starts one, all at the same moment.
    #[must_use]
    pub fn join_all(&self, keys: impl IntoIterator<Item = K>) -> Vec<Flight<K, V>> {
        let mut flights = self.shared.flights.lock();
        keys.into_iter().map(|key| self.shared.join(&mut flights, key)).collect()
    }

    /// The number of flights that have not finished yet.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.shared.flights.lock().len()
    }
}

/// The caller that computes. If it is dropped before it finishes, because of an error, a panic or
/// an aborted task, its followers are released and the next caller to join leads.
#[derive(Debug)]
#[must_use = "its followers wait for it"]
pub struct Leader<K: Hash + Eq, V> {
    shared: Arc<Shared<K, V>>,
    key: K,
    /// Whether the flight has ended. Another may have begun under its key.
    is_over: bool,
}

impl<K: Hash + Eq + Clone, V> Leader<K, V> {
    /// Follows this flight, whatever its limit: for a caller that leads, and moves the leader into
    /// a task that ends when nobody follows.
    pub fn follow(&self) -> Follower<V> {
        let mut flights = self.shared.flights.lock();
        let outcome = flights.entry(self.key.clone()).or_default().get_or_insert_default();
        Follower { outcome: outcome.subscribe() }
    }
}

impl<K: Hash + Eq, V> Leader<K, V> {
    /// Waits until nobody follows, which is so at the start. Somebody may follow afterwards, and
    /// then finds the leader dropped.
    pub async fn unfollowed(&self) {
        let outcome = self.shared.flights.lock().get(&self.key).cloned().flatten();
        if let Some(outcome) = outcome {
            outcome.closed().await;
        }
    }

    /// Goes on only if anybody follows. Otherwise the flight has ended, and the next caller to join
    /// leads.
    #[must_use]
    pub fn if_followed(mut self) -> Option<Self> {
        let shared = Arc::clone(&self.shared);
        let mut flights = shared.flights.lock();
        let outcome = flights.get(&self.key).and_then(Option::as_ref);
        if outcome.is_some_and(|outcome| outcome.receiver_count() > 0) {
            return Some(self);
        }
        flights.remove(&self.key);
        self.is_over = true;
        None
    }

    /// Gives the value to all followers and ends the flight: the next caller to join leads again.
    pub fn finish(mut self, value: V) {
        if let Some(outcome) = self.end() {
            outcome.send_replace(Some(value));
        }
    }

    fn end(&mut self) -> Option<Outcome<V>> {
        self.is_over = true;
        self.shared.flights.lock().remove(&self.key).flatten()
    }
}

impl<K: Hash + Eq, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        if !self.is_over {
            self.end();
        }
    }
}

/// A caller that waits for the leader.
#[derive(Debug)]
#[must_use = "it counts as a follower until it is dropped"]
pub struct Follower<V> {
    outcome: watch::Receiver<Option<V>>,
}

/// The leader was dropped without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the leader ended without a value")]
pub struct Abandoned;

impl<V: Clone> Follower<V> {
    /// Waits for the leader's value. The future can be dropped at any time, for example by a
    /// timeout: the follower no longer counts then, and nobody else is affected.
    ///
    /// # Errors
    ///
    /// The leader was dropped. To try again, join again.
    pub async fn wait(mut self) -> Result<V, Abandoned> {
        // `wait_for` looks at the value before it notices that the sender is gone, so the value
        // of a leader that finished is never missed.
        let outcome = self.outcome.wait_for(Option::is_some).await.map_err(|_| Abandoned)?;
        outcome.clone().ok_or(Abandoned)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::{
        future::Future as _,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::Poll,
    };

    use tokio::{sync::Barrier, task::JoinSet};

    use super::*;

    type Flights = SingleFlight<&'static str, usize>;

    fn lead(flights: &Flights, key: &'static str) -> Leader<&'static str, usize> {
        match flights.join(key) {
            Flight::Lead(leader) => leader,
            other => panic!("should lead: {other:?}"),
        }
    }

    fn follow(flights: &Flights, key: &'static str) -> Follower<usize> {
        match flights.join(key) {
            Flight::Follow(follower) => follower,
            other => panic!("should follow: {other:?}"),
        }
    }

    fn is_crowded(flights: &Flights, key: &'static str) -> bool {
        matches!(flights.join(key), Flight::Crowded)
    }

    #[tokio::test]
    async fn followers_get_the_leaders_value_and_the_next_caller_leads_again() {
        let flights = Flights::new(8, 8);
        let leader = lead(&flights, "a");
        let (early, late) = (follow(&flights, "a"), follow(&flights, "a"));
        let early = tokio::spawn(early.wait());
        leader.finish(1);
        assert_eq!(early.await.unwrap(), Ok(1));
        let again = lead(&flights, "a");
        // A follower that starts to wait only now still gets the value.
        assert_eq!(late.wait().await, Ok(1));
        drop(again);
        assert_eq!(flights.flights(), 0);
    }

    #[tokio::test]
    async fn a_dropped_leader_releases_its_followers() {
        let flights = Flights::new(8, 8);
        let leader = lead(&flights, "a");
        let other = lead(&flights, "b");
        let [waiting, late] = [follow(&flights, "a"), follow(&flights, "a")];
        let waiting = tokio::spawn(waiting.wait());
        drop(leader);
        assert_eq!(waiting.await.unwrap(), Err(Abandoned));
        assert_eq!(late.wait().await, Err(Abandoned));
        assert_eq!(flights.flights(), 1);
        drop((lead(&flights, "a"), other));
    }

    #[tokio::test]
    async fn a_leader_learns_when_its_last_follower_has_left() {
        let flights = Flights::new(8, 1);
        let leader = lead(&flights, "a");
        // The caller that leads follows too, and counts.
        let own = leader.follow();
        assert!(is_crowded(&flights, "a"));
        let second = leader.follow();
        let mut unfollowed = std::pin::pin!(leader.unfollowed());
        let mut is_unfollowed = async || {
            std::future::poll_fn(|context| {
                Poll::Ready(unfollowed.as_mut().poll(context).is_ready())
            })
            .await
        };
        assert!(!is_unfollowed().await);
        drop(own);
        assert!(!is_unfollowed().await);
        let waiting = tokio::spawn(second.wait());
        tokio::task::yield_now().await;
        assert!(!is_unfollowed().await);
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(is_unfollowed().await);
    }

    #[tokio::test]
    async fn several_keys_are_joined_at_once_each_in_its_own_flight() {
        let flights = Flights::new(3, 1);
        let other = lead(&flights, "b");
        let [a, b, c, again, d] =
            <[_; 5]>::try_from(flights.join_all(["a", "b", "c", "a", "d"])).unwrap();
        let (Flight::Lead(a), Flight::Follow(b), Flight::Lead(c)) = (a, b, c) else {
            panic!("should lead, follow and lead");
        };
        let (Flight::Follow(again), Flight::Crowded) = (again, d) else {
            panic!("should follow, and find no room");
        };
        assert!(is_crowded(&flights, "a"));
        a.finish(1);
        other.finish(2);
        assert_eq!((again.wait().await, b.wait().await), (Ok(1), Ok(2)));
        drop(c);
        assert_eq!(flights.join_all(["a", "b", "c"]).len(), 3);
        assert_eq!(flights.flights(), 0);
    }

    #[tokio::test]
    async fn a_leader_goes_on_only_if_somebody_follows() {
        let flights = Flights::new(8, 8);
        assert!(lead(&flights, "a").if_followed().is_none());
        let leader = lead(&flights, "a");
        let follower = follow(&flights, "a");
        let leader = leader.if_followed().unwrap();
        let other = follow(&flights, "a");
        drop(follower);
        let leader = leader.if_followed().unwrap();
        drop(other);
        assert!(leader.if_followed().is_none());
        let leader = lead(&flights, "a");
        let follower = follow(&flights, "a");
        leader.finish(1);
        assert_eq!(follower.wait().await, Ok(1));
        assert_eq!(flights.flights(), 0);
    }

    #[tokio::test]
    async fn a_leader_whose_task_panics_or_is_aborted_releases_its_followers() {
        let flights = Flights::new(8, 8);
        let leader = lead(&flights, "a");
        let follower = follow(&flights, "a");
        let panicking = tokio::spawn(async move {
            let _leader = leader;
            panic!("on purpose: followers must be released");
        });
        assert!(panicking.await.unwrap_err().is_panic());
        assert_eq!(follower.wait().await, Err(Abandoned));

        let leader = lead(&flights, "a");
        let follower = follow(&flights, "a");
        let endless = tokio::spawn(async move {
            let _leader = leader;
            std::future::pending::<()>().await;
        });
        endless.abort();
        assert_eq!(follower.wait().await, Err(Abandoned));
    }

    #[tokio::test]
    async fn limits_hold_and_room_is_given_back() {
        let flights = Flights::new(2, 2);
        let [a, _b] = [lead(&flights, "a"), lead(&flights, "b")];
        assert!(is_crowded(&flights, "c"));
        let [first, second] = [follow(&flights, "a"), follow(&flights, "a")];
        assert!(is_crowded(&flights, "a"));

        // One is dropped before it waits, and one while it waits.
        drop(first);
        let first = follow(&flights, "a");
        assert!(is_crowded(&flights, "a"));
        let cut = tokio::spawn(second.wait());
        cut.abort();
        assert!(cut.await.unwrap_err().is_cancelled());
        let second = follow(&flights, "a");
        assert!(is_crowded(&flights, "a"));

        a.finish(7);
        assert_eq!((first.wait().await, second.wait().await), (Ok(7), Ok(7)));
        drop(lead(&flights, "c"));
    }

    /// In each round all join at once. One leads, and finishes only when all have joined.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_of_many_callers_leads() {
        const CALLERS: usize = 64;
        let flights = Arc::new(Flights::new(1, CALLERS));
        let leads = Arc::new(AtomicUsize::new(0));
        for round in 0..50 {
            let (start, joined) =
                (Arc::new(Barrier::new(CALLERS)), Arc::new(Barrier::new(CALLERS)));
            let mut callers = JoinSet::new();
            for _ in 0..CALLERS {
                let (flights, leads) = (flights.clone(), leads.clone());
                let (start, joined) = (start.clone(), joined.clone());
                callers.spawn(async move {
                    start.wait().await;
                    let flight = flights.join("key");
                    joined.wait().await;
                    match flight {
                        Flight::Lead(leader) => {
                            leads.fetch_add(1, SeqCst);
                            leader.finish(round);
                            Ok(round)
                        }
                        Flight::Follow(follower) => follower.wait().await,
                        Flight::Crowded => panic!("there is room for every caller"),
                    }
                });
            }
            assert_eq!(callers.join_all().await, vec![Ok(round); CALLERS]);
            assert_eq!((leads.load(SeqCst), flights.flights()), (round + 1, 0));
        }
    }

    /// Callers come and go at will. No caller gets the value of a flight that ended before it
    /// joined, no caller waits forever, and there are never two leaders.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn flights_of_one_key_never_overlap() {
        let flights = Arc::new(Flights::new(1, 4));
        let (leading, finished) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let (flights, leading, finished) = (flights.clone(), leading.clone(), finished.clone());
            callers.spawn(async move {
                for round in 0..500 {
                    let before = finished.load(SeqCst);
                    match flights.join("key") {
                        Flight::Lead(leader) => {
                            assert_eq!(leading.fetch_add(1, SeqCst), 0, "two leaders");
                            tokio::task::yield_now().await;
                            assert_eq!(leading.fetch_sub(1, SeqCst), 1, "two leaders");
                            match (caller + round) % 3 {
                                0 => drop(leader),
                                _ => leader.finish(finished.fetch_add(1, SeqCst) + 1),
                            }
                        }
                        Flight::Follow(follower) if round % 5 == 0 => drop(follower),
                        Flight::Follow(follower) => {
                            if let Ok(value) = follower.wait().await {
                                assert!(value >= before, "{value} is older than {before}");
                            }
                        }
                        Flight::Crowded => tokio::task::yield_now().await,
                    }
                }
            });
        }
        callers.join_all().await;
        assert_eq!(flights.flights(), 0);
    }
}
