//! What stands between callers and a backend that can be slow, broken or gone.
//!
//! A call has a timeout. A caller has a share of the calls that may be in progress, so that one who
//! asks a lot leaves some to the others. While most calls fail, a [`Breaker`] refuses further ones at
//! once. A read that failed is repeated once, as long as few are: retries must not multiply the load
//! of a backend that is failing. After several timeouts in a row, whoever owns the connection is told
//! that it is stuck, because a connection that nobody answers on does not end by itself.
//!
//! Out of scope: connections, and what an error means to a caller.

mod breaker;

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

pub use self::breaker::{Admitted, Breaker, Health};
use crate::shares::{Share, Shares};

/// So many timeouts in a row mean that the connection is stuck.
const STUCK_AFTER: u32 = 5;
/// A retry is allowed for so many reads, and some for the first ones.
const READS_PER_RETRY: u32 = 10;
const MOST_RETRIES_SAVED: u32 = 10;

/// Guards one backend, for callers that share it by key.
pub struct Guard<K: Hash + Eq + Clone> {
    shares: Shares<K>,
    breaker: Mutex<Breaker>,
    calls: AtomicU64,
    timeouts_in_a_row: AtomicU32,
    /// Tenths of retries that may be made.
    retries: AtomicU32,
    on_stuck: Box<dyn Fn() + Send + Sync>,
}

/// Why a call has no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure<E> {
    /// The backend was not asked, because most of the last calls failed.
    Open,
    /// The backend was not asked, because too many calls are in progress.
    Crowded,
    /// The backend did not answer in time.
    TimedOut,
    /// The backend, or the connection to it, failed.
    Failed(E),
}

/// An error of a backend.
pub trait BackendError {
    /// Whether the backend is out of order, rather than just refusing this call.
    fn is_outage(&self) -> bool;

    /// Whether the backend has not answered in a time of its own, shorter than the call's.
    fn is_timeout(&self) -> bool {
        false
    }
}

impl<K: Hash + Eq + Clone> Guard<K> {
    /// Lets at most `calls` be in progress at once. `on_stuck` is called when the connection should
    /// be made anew; it must not block.
    #[must_use]
    pub fn new(calls: usize, on_stuck: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            shares: Shares::new(calls, 2, 0),
            breaker: Mutex::new(Breaker::new(Instant::now())),
            calls: AtomicU64::new(0),
            timeouts_in_a_row: AtomicU32::new(0),
            retries: AtomicU32::new(MOST_RETRIES_SAVED * READS_PER_RETRY),
            on_stuck: Box::new(on_stuck),
        }
    }

    /// What is known about the backend.
    #[must_use]
    pub fn health(&self) -> Health {
        self.breaker.lock().health()
    }

    /// How many calls the backend was asked to make since the start. If it stays the same, nobody would
    /// notice that the backend is gone.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Makes a call that changes nothing, within this time. It may be made twice.
    ///
    /// # Errors
    /// There is no result.
    pub async fn read<T, E: BackendError, F>(
        &self,
        key: &K,
        within: Duration,
        call: impl Fn() -> F,
    ) -> Result<T, Failure<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let started = Instant::now();
        let _share = self.share(key)?;
        self.earn();
        match self.once(within, call()).await {
            Err(Failure::Failed(error)) if error.is_outage() && self.spend() => {
                let left = within.saturating_sub(started.elapsed());
                self.once(left, call()).await
            }
            ended => ended,
        }
    }

    /// Makes a call once, within this time.
    ///
    /// # Errors
    /// There is no result. The call may have had its effect.
    pub async fn write<T, E: BackendError>(
        &self,
        key: &K,
        within: Duration,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure<E>> {
        let _share = self.share(key)?;
        self.once(within, call).await
    }

    fn share<E>(&self, key: &K) -> Result<Share<K>, Failure<E>> {
        self.shares.try_take(key, 1, 1).ok_or(Failure::Crowded)
    }

    async fn once<T, E: BackendError>(
        &self,
        within: Duration,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure<E>> {
        let admitted = self.breaker.lock().admit(Instant::now()).ok_or(Failure::Open)?;
        self.calls.fetch_add(1, Relaxed);
        let mut trial = Trial { breaker: &self.breaker, call: Some(admitted) };
        let ended = timeout(within, call).await;
        let worked = match &ended {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => !error.is_outage(),
            Err(_) => false,
        };
        trial.end(Some(worked));
        self.note_timeout(match &ended {
            Ok(Ok(_)) => false,
            Ok(Err(error)) => error.is_timeout(),
            Err(_) => true,
        });
        match ended {
            Ok(result) => result.map_err(Failure::Failed),
            Err(_) => Err(Failure::TimedOut),
        }
    }

    fn note_timeout(&self, timed_out: bool) {
        if !timed_out {
            self.timeouts_in_a_row.store(0, Relaxed);
        } else if self.timeouts_in_a_row.fetch_add(1, Relaxed) + 1 >= STUCK_AFTER {
            self.timeouts_in_a_row.store(0, Relaxed);
            (self.on_stuck)();
        }
    }

    /// A read earns a part of a retry.
    fn earn(&self) {
        let most = MOST_RETRIES_SAVED * READS_PER_RETRY;
        let _ = self
            .retries
            .fetch_update(Relaxed, Relaxed, |saved| (saved < most).then_some(saved + 1));
    }

    fn spend(&self) -> bool {
        let spent =
            self.retries.fetch_update(Relaxed, Relaxed, |saved| saved.checked_sub(READS_PER_RETRY));
        spent.is_ok()
    }
}

/// A call in progress. If its caller leaves, nobody knows how it would have ended.
struct Trial<'a> {
    breaker: &'a Mutex<Breaker>,
    call: Option<Admitted>,
}

impl Trial<'_> {
    fn end(&mut self, worked: Option<bool>) {
        if let Some(call) = self.call.take() {
            self.breaker.lock().ended(call, worked, Instant::now());
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        self.end(None);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Error {
        Refused,
        Broken,
        Unanswered,
    }

    impl BackendError for Error {
        fn is_outage(&self) -> bool {
            *self != Self::Refused
        }

        fn is_timeout(&self) -> bool {
            *self == Self::Unanswered
        }
    }

    struct Fixture {
        guard: Guard<&'static str>,
        stuck: Arc<AtomicUsize>,
    }

    impl Fixture {
        fn new(calls: usize) -> Self {
            let stuck = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&stuck);
            let guard = Guard::new(calls, move || {
                counted.fetch_add(1, Relaxed);
            });
            Self { guard, stuck }
        }

        async fn write(&self, result: Result<(), Error>) -> Result<(), Failure<Error>> {
            self.guard.write(&"a", SECOND, async { result }).await
        }

        async fn time_out(&self) {
            let ended = self.guard.write(&"a", SECOND, std::future::pending::<Result<(), Error>>());
            assert_eq!(ended.await, Err(Failure::TimedOut));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_fails_is_not_asked_any_more() {
        let f = Fixture::new(10);
        for _ in 0..100 {
            assert_eq!(f.write(Err(Error::Refused)).await, Err(Failure::Failed(Error::Refused)));
        }
        let mut asked = 0;
        while f.write(Err(Error::Broken)).await == Err(Failure::Failed(Error::Broken)) {
            asked += 1;
        }
        assert_eq!((asked, f.guard.health()), (101, Health::Open));
        assert_eq!(f.write(Ok(())).await, Err(Failure::Open));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nobody_answers_is_stuck() {
        let f = Fixture::new(10);
        for _ in 0..20 {
            assert_eq!(f.write(Ok(())).await, Ok(()));
        }
        for _ in 1..STUCK_AFTER {
            f.time_out().await;
        }
        // An answer, even a refusal, comes over a connection that works.
        assert!(f.write(Err(Error::Refused)).await.is_err());
        for _ in 1..STUCK_AFTER {
            f.time_out().await;
        }
        assert_eq!((f.stuck.load(Relaxed), f.guard.health()), (0, Health::Closed));
        let f = Fixture::new(10);
        for _ in 0..STUCK_AFTER {
            f.time_out().await;
        }
        assert_eq!((f.stuck.load(Relaxed), f.guard.health()), (1, Health::Open));
        // The backend's own timeouts are some, too; other failures come over a connection that works.
        for (error, stuck) in [(Error::Unanswered, 1), (Error::Broken, 0)] {
            let f = Fixture::new(10);
            for _ in 0..STUCK_AFTER {
                let _ = f.guard.write(&"a", SECOND, async { Err::<(), _>(error) }).await;
            }
            assert_eq!(f.stuck.load(Relaxed), stuck, "{error:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn few_reads_are_repeated() {
        let f = Fixture::new(10);
        let calls = AtomicUsize::new(0);
        let fail_once = || async {
            match calls.fetch_add(1, Relaxed) {
                0 => Err(Error::Broken),
                _ => Ok(()),
            }
        };
        assert_eq!(f.guard.read(&"a", SECOND, fail_once).await, Ok(()));
        assert_eq!(calls.load(Relaxed), 2);
        // Half of all reads fail at first, which opens no breaker: a tenth of all is repeated.
        calls.store(0, Relaxed);
        for number in 0..1_000 {
            let attempts = AtomicUsize::new(0);
            let call = || async {
                calls.fetch_add(1, Relaxed);
                let is_first = attempts.fetch_add(1, Relaxed) == 0;
                if is_first && number % 2 == 0 { Err(Error::Broken) } else { Ok(()) }
            };
            let _ = f.guard.read(&"a", SECOND, call).await;
        }
        let repeated = calls.load(Relaxed) - 1_000;
        assert!((100..=100 + MOST_RETRIES_SAVED as usize).contains(&repeated), "{repeated}");
        assert_eq!(f.guard.health(), Health::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_leaves_some_calls_to_others() {
        let f = Fixture::new(9);
        let waits = || f.guard.write(&"a", SECOND, std::future::pending::<Result<(), Error>>());
        let mut waiting: Vec<_> = (0..9).map(|_| Box::pin(waits())).collect();
        let mut crowded = 0;
        for call in &mut waiting {
            if let std::task::Poll::Ready(ended) = futures::poll!(call) {
                assert_eq!(ended, Err(Failure::Crowded));
                crowded += 1;
            }
        }
        assert_eq!(crowded, 3);
        assert_eq!(f.guard.write(&"b", SECOND, async { Ok::<_, Error>(()) }).await, Ok(()));
        // Whoever leaves gives back, and is no failure.
        drop(waiting);
        assert_eq!(f.write(Ok(())).await, Ok(()));
        assert_eq!(f.guard.health(), Health::Closed);
    }
}
