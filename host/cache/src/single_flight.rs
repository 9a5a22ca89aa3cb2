//! Single-flight: of many callers that want the same, one computes and the others wait.
//!
//! The first to [`join`](SingleFlight::join) leads, the others follow until it finishes.
//! A leader is meant to be moved into a task of its own, so that the client that happened
//! to be first can go away without harm to the others.
//!
//! Left out: how long to wait (each follower has its own deadline, and puts it around
//! [`Follower::wait`]), and storing the value, which a leader does before it finishes.

use std::{
    collections::{HashMap, hash_map},
    hash::Hash,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::watch;

/// The flights that are in the air.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    shared: Arc<Shared<K, V>>,
}

#[derive(Debug)]
struct Shared<K, V> {
    /// One sender a flight, shared with its leader: when both let go of it without
    /// having sent, followers learn that they were abandoned.
    flights: Mutex<HashMap<K, Arc<Outcome<V>>>>,
    max_flights: usize,
    max_followers: usize,
}

type Outcome<V> = watch::Sender<Option<V>>;

/// What a caller is to do.
#[derive(Debug)]
pub enum Flight<K: Hash + Eq, V> {
    /// Compute, then [`Leader::finish`].
    Lead(Leader<K, V>),
    /// [`Follower::wait`].
    Follow(Follower<V>),
    /// A bound was reached: compute for yourself.
    Crowded,
}

impl<K: Hash + Eq + Clone, V: Clone> SingleFlight<K, V> {
    /// At most `max_flights` at once, each with at most `max_followers` that wait.
    #[must_use]
    pub fn new(max_flights: usize, max_followers: usize) -> Self {
        let flights = Mutex::default();
        Self { shared: Arc::new(Shared { flights, max_flights, max_followers }) }
    }

    /// Joins the flight under this key, or starts it.
    #[must_use]
    pub fn join(&self, key: K) -> Flight<K, V> {
        let mut flights = self.shared.flights.lock();
        let in_the_air = flights.len();
        match flights.entry(key) {
            hash_map::Entry::Occupied(flight) => {
                let outcome = flight.get();
                if outcome.receiver_count() >= self.shared.max_followers {
                    return Flight::Crowded;
                }
                Flight::Follow(Follower { outcome: outcome.subscribe() })
            }
            hash_map::Entry::Vacant(place) => {
                if in_the_air >= self.shared.max_flights {
                    return Flight::Crowded;
                }
                let key = place.key().clone();
                let outcome = Arc::clone(place.insert(Arc::new(Outcome::new(None))));
                Flight::Lead(Leader { shared: self.shared.clone(), key, outcome })
            }
        }
    }

    /// How many flights are in the air.
    #[must_use]
    pub fn flights(&self) -> usize {
        self.shared.flights.lock().len()
    }
}

/// Computes for all. Dropped before it has finished, whether by an error, a panic or an
/// aborted task, it releases its followers, and the next to join leads.
#[derive(Debug)]
#[must_use = "followers wait for it"]
pub struct Leader<K: Hash + Eq, V> {
    shared: Arc<Shared<K, V>>,
    key: K,
    outcome: Arc<Outcome<V>>,
}

impl<K: Hash + Eq, V> Leader<K, V> {
    /// Hands the value to all followers and ends the flight: who joins from now on leads
    /// anew.
    pub fn finish(self, value: V) {
        self.outcome.send_replace(Some(value));
    }
}

impl<K: Hash + Eq, V> Drop for Leader<K, V> {
    fn drop(&mut self) {
        self.shared.flights.lock().remove(&self.key);
    }
}

/// Waits for the leader.
#[derive(Debug)]
#[must_use = "it counts as a follower until it is dropped"]
pub struct Follower<V> {
    outcome: watch::Receiver<Option<V>>,
}

/// The leader is gone and has left no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the leader ended without a value")]
pub struct Abandoned;

impl<V: Clone> Follower<V> {
    /// The leader's value. It can be cut at any time, by a timeout for example: that
    /// gives the follower's place back, and disturbs nobody.
    ///
    /// # Errors
    ///
    /// When the leader was dropped. Who wants to try again joins again.
    pub async fn wait(mut self) -> Result<V, Abandoned> {
        // The value is looked at before the sender's end is, so a finished leader's is seen.
        let outcome = self.outcome.wait_for(Option::is_some).await.map_err(|_| Abandoned)?;
        outcome.clone().ok_or(Abandoned)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

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
    async fn followers_get_the_leaders_value_and_the_next_leads_anew() {
        let flights = Flights::new(8, 8);
        let leader = lead(&flights, "a");
        let (early, late) = (follow(&flights, "a"), follow(&flights, "a"));
        let early = tokio::spawn(early.wait());
        leader.finish(1);
        assert_eq!(early.await.unwrap(), Ok(1));
        let again = lead(&flights, "a");
        // A value that was sent is there for those who come to wait only now.
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
    async fn a_leader_whose_task_panics_or_is_aborted_releases_its_followers() {
        let flights = Flights::new(8, 8);
        let leader = lead(&flights, "a");
        let follower = follow(&flights, "a");
        let panicking = tokio::spawn(async move {
            let _leader = leader;
            panic!("on purpose, to see that followers are released");
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
    async fn bounds_are_kept_and_places_come_back() {
        let flights = Flights::new(2, 2);
        let [a, _b] = [lead(&flights, "a"), lead(&flights, "b")];
        assert!(is_crowded(&flights, "c"));
        let [first, second] = [follow(&flights, "a"), follow(&flights, "a")];
        assert!(is_crowded(&flights, "a"));

        // One that is dropped before it waits, and one that is cut while it does.
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

    /// In each round all join at once; one leads, and finishes only when all have joined.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_at_once_one_leads() {
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
                        Flight::Crowded => panic!("there is a place for each"),
                    }
                });
            }
            assert_eq!(callers.join_all().await, vec![Ok(round); CALLERS]);
            assert_eq!((leads.load(SeqCst), flights.flights()), (round + 1, 0));
        }
    }

    /// Callers come and go as they like: nobody gets a value of a flight that ended before
    /// it joined, nobody waits for ever, and at no time do two lead.
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
                            assert_eq!(leading.fetch_add(1, SeqCst), 0, "two lead");
                            tokio::task::yield_now().await;
                            assert_eq!(leading.fetch_sub(1, SeqCst), 1, "two lead");
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
