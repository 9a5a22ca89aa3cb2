//! The threads that guests run on, and whose guest is next.
//!
//! A guest that computes yields its thread once an epoch. Then the next guest is one of the
//! [account](Account) that has had the least of the threads' time, so a pipeline with a hundred
//! guests that compute does not slow another one down a hundred times. Connections, host calls that
//! wait, and hits whose policy has no `keying` use other threads. Out of scope: how many guests there
//! may be (`slots`).

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use async_task::{FallibleTask, Runnable};
use futures::FutureExt as _;
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use weir_limits::turns::{AccountId, GroupId, Turns};

use super::config;

/// The threads. Dropping this stops them, and with them the guests.
pub struct GuestThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    ready: Mutex<Ready>,
    /// Signalled when there is work for an idle thread.
    work: Condvar,
}

struct Ready {
    guests: Turns<Runnable>,
    idle_threads: usize,
    stopped: bool,
}

/// Who is charged for the time of guests: a pipeline or a policy of a tenant.
#[derive(Clone)]
pub struct Account {
    shared: Arc<Shared>,
    id: AccountId,
}

/// A guest that has been started. Dropping it cancels the guest.
pub struct Guest<T>(FallibleTask<thread::Result<T>>);

impl GuestThreads {
    /// Starts the threads. Timers, and tasks that guests' host calls spawn, use the runtime `io`.
    ///
    /// # Errors
    /// The operating system refuses to start them.
    pub fn start(limits: &config::Engine, io: &Handle) -> io::Result<Self> {
        let count = match limits.guest_threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let ready = Ready { guests: Turns::default(), idle_threads: 0, stopped: false };
        let shared = Arc::new(Shared { ready: Mutex::new(ready), work: Condvar::new() });
        let mut threads = Self { shared, threads: Vec::with_capacity(count) };
        for _ in 0..count {
            let (shared, io) = (Arc::clone(&threads.shared), io.clone());
            let work = move || {
                let _entered = io.enter();
                shared.work();
            };
            let thread = thread::Builder::new().name("weir-guest".to_owned()).spawn(work)?;
            threads.threads.push(thread);
        }
        Ok(threads)
    }

    /// Adds a group of accounts: a tenant, or all policies. Groups share the threads' time by weight.
    pub fn group(&self, weight: u32) -> GroupId {
        self.shared.ready.lock().guests.add_group(weight)
    }

    /// Adds an account. The accounts of a group share its time by weight.
    pub fn account(&self, group: GroupId, weight: u32) -> Account {
        let id = self.shared.ready.lock().guests.add_account(group, weight);
        Account { shared: Arc::clone(&self.shared), id }
    }
}

impl Account {
    /// Identifies the account among those of the same threads.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// Runs `guest` on the threads.
    pub fn spawn<F>(&self, guest: F) -> Guest<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let Self { shared, id } = self.clone();
        let schedule = move |runnable| shared.push(id, runnable);
        // A panic ends the guest, not its thread.
        let (runnable, task) = async_task::spawn(AssertUnwindSafe(guest).catch_unwind(), schedule);
        runnable.schedule();
        Guest(task.fallible())
    }
}

impl<T> Guest<T> {
    /// What the guest returned; `None` if it panicked, or the threads have stopped.
    pub async fn ended(self) -> Option<T> {
        self.0.await?.ok()
    }
}

impl Shared {
    fn push(&self, account: AccountId, guest: Runnable) {
        let mut ready = self.ready.lock();
        if ready.stopped {
            drop(ready);
            // Cancels the guest, outside the lock, which its destructor might need.
            drop(guest);
            return;
        }
        ready.guests.push(account, guest);
        if ready.idle_threads > 0 {
            self.work.notify_one();
        }
    }

    /// Runs guests until the threads are stopped.
    fn work(&self) {
        let mut spent = None;
        while let Some((account, guest)) = self.next(spent) {
            let began = Instant::now();
            guest.run();
            let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            spent = Some((account, nanoseconds));
        }
    }

    /// Charges for what the thread has just done, and waits for what it does next. `None` when the
    /// threads are stopped.
    fn next(&self, spent: Option<(AccountId, u64)>) -> Option<(AccountId, Runnable)> {
        let mut ready = self.ready.lock();
        if let Some((account, nanoseconds)) = spent {
            ready.guests.charge(account, nanoseconds);
        }
        loop {
            if ready.stopped {
                return None;
            }
            if let Some(next) = ready.guests.pop() {
                return Some(next);
            }
            ready.idle_threads += 1;
            self.work.wait(&mut ready);
            ready.idle_threads -= 1;
        }
    }
}

impl Drop for GuestThreads {
    fn drop(&mut self) {
        let mut ready = self.shared.ready.lock();
        ready.stopped = true;
        let waiting = ready.guests.clear();
        drop(ready);
        self.shared.work.notify_all();
        drop(waiting);
        // A thread ends when its guest yields, which takes at most an epoch. Waiting for that here
        // could block a thread of the asynchronous runtime.
        self.threads.clear();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::{pending, poll_fn};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::Poll;
    use std::time::Duration;

    use tokio::sync::{oneshot, watch};
    use tokio::time::timeout;

    use super::*;

    /// Longer than any of this takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn threads(count: usize) -> GuestThreads {
        let limits = config::Engine { guest_threads: count, ..config::Engine::default() };
        GuestThreads::start(&limits, &Handle::current()).unwrap()
    }

    /// Computes for this long, then lets others run.
    async fn step(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
        let mut yielded = false;
        poll_fn(|context| {
            if yielded {
                return Poll::Ready(());
            }
            yielded = true;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn a_pipeline_with_many_guests_gets_no_more_than_one_with_few() {
        let threads = threads(1);
        let group = threads.group(1);
        let [crowd, alone] = [(); 2].map(|()| threads.account(group, 1));
        let (began, mut has_begun) = watch::channel(0);
        let began = Arc::new(began);
        let stop = Arc::new(AtomicBool::new(false));
        let steps = Arc::new(AtomicUsize::new(0));
        let guests: Vec<_> = (0..50)
            .map(|_| {
                let (began, stop, steps) = (began.clone(), stop.clone(), steps.clone());
                crowd.spawn(async move {
                    began.send_modify(|count| *count += 1);
                    while !stop.load(Ordering::Relaxed) {
                        step(Duration::from_micros(100)).await;
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        has_begun.wait_for(|count| *count == 50).await.unwrap();
        let others = steps.clone();
        let few = alone.spawn(async move {
            let before = others.load(Ordering::Relaxed);
            for _ in 0..100 {
                step(Duration::from_micros(100)).await;
            }
            others.load(Ordering::Relaxed) - before
        });
        let meanwhile = timeout(DEADLINE, few.ended()).await.unwrap().unwrap();
        stop.store(true, Ordering::Relaxed);
        for guest in guests {
            guest.ended().await.unwrap();
        }
        // In turn, they would have made 50 steps for each of the 100.
        assert!((10..1_000).contains(&meanwhile), "{meanwhile} steps");
    }

    #[tokio::test]
    async fn a_guest_that_panics_ends_alone() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1);
        let panics = account.spawn(async { panic!("as the test asked") });
        assert!(panics.ended().await.is_none());
        assert_eq!(account.spawn(async { 7 }).ended().await, Some(7));
    }

    struct Noted(Option<oneshot::Sender<()>>);

    impl Drop for Noted {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }

    #[tokio::test]
    async fn a_guest_that_nobody_waits_for_is_dropped() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1);
        let (noted, dropped) = oneshot::channel();
        let noted = Noted(Some(noted));
        let (began, has_begun) = oneshot::channel();
        let guest = account.spawn(async move {
            let _noted = noted;
            began.send(()).unwrap();
            pending::<()>().await;
        });
        has_begun.await.unwrap();
        drop(guest);
        dropped.await.unwrap();
    }

    #[tokio::test]
    async fn guests_end_with_their_threads() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1);
        let (began, has_begun) = oneshot::channel();
        let guest = account.spawn(async move {
            began.send(()).unwrap();
            loop {
                step(Duration::from_micros(100)).await;
            }
        });
        has_begun.await.unwrap();
        drop(threads);
        assert_eq!(guest.ended().await, None::<()>);
        assert_eq!(account.spawn(async { 7 }).ended().await, None);
    }
}
