//! Threads that compute, and whose work is next.
//!
//! Work is a future that computes and yields now and then. When it yields or ends, next is work of
//! the [account](Account) that has had the least of the threads' time. So an account with a hundred
//! futures that compute does not slow another one down a hundred times.
//!
//! Work that turns out to be long can go on on other threads, of a lower priority
//! ([`Account::then`]): short work is done at once, and long work does not delay it. Out of scope: how
//! much work an account may have.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use async_task::{FallibleTask, Runnable, ScheduleInfo, WithInfo};
use futures::FutureExt as _;
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use crate::priority::{self, Work};
use crate::turns::{AccountId, GroupId, Turns};
use crate::waited::Waited;

/// Work is long when it has yielded so often without having waited for anything. Guests yield whenever an
/// epoch ends, which even a short one may see once.
const YIELDS_OF_LONG_WORK: u32 = 2;

/// The threads. Dropping this stops them, and with them the work.
#[derive(Debug)]
pub struct FairThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    ready: Mutex<Ready>,
    /// Signalled when there is work for an idle thread.
    wake: Condvar,
}

/// Work that waits for a thread.
#[derive(Debug)]
struct Waiting {
    work: Runnable,
    since: Instant,
    waited: Waited,
}

#[derive(Debug)]
struct Ready {
    work: Turns<Waiting>,
    idle_threads: usize,
    stopped: bool,
}

/// Who is charged for the time of work.
#[derive(Clone, Debug)]
pub struct Account {
    shared: Arc<Shared>,
    id: AccountId,
    waited: Waited,
    /// Who is charged for it once it is long, if that is somebody else.
    then: Option<Arc<Account>>,
}

/// Work that has been started. Dropping it cancels the work, which stops where it yields next.
#[derive(Debug)]
pub struct Started<T>(FallibleTask<thread::Result<T>>);

impl FairThreads {
    /// Starts so many threads of this name for this kind of work; 0 means one per core. Timers, and
    /// tasks that the work spawns, use the runtime `io`; without one, there must be none.
    ///
    /// # Errors
    /// The operating system refuses to start them.
    pub fn start(name: &str, kind: Work, count: usize, io: Option<&Handle>) -> io::Result<Self> {
        let count = match count {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let ready = Ready { work: Turns::default(), idle_threads: 0, stopped: false };
        let shared = Arc::new(Shared { ready: Mutex::new(ready), wake: Condvar::new() });
        let mut threads = Self { shared, threads: Vec::with_capacity(count) };
        for _ in 0..count {
            let (shared, io) = (Arc::clone(&threads.shared), io.cloned());
            let work = move || {
                priority::lower(kind);
                let _entered = io.as_ref().map(Handle::enter);
                shared.work();
            };
            let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
            threads.threads.push(thread);
        }
        Ok(threads)
    }

    /// How many threads there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Adds a group of accounts. Groups share the threads' time by weight.
    pub fn group(&self, weight: u32) -> GroupId {
        self.shared.ready.lock().work.add_group(weight)
    }

    /// Adds an account. The accounts of a group share its time by weight. For how long its work has
    /// waited for a thread is added to `waited`.
    pub fn account(&self, group: GroupId, weight: u32, waited: Waited) -> Account {
        let id = self.shared.ready.lock().work.add_account(group, weight);
        Account { shared: Arc::clone(&self.shared), id, waited, then: None }
    }
}

impl Account {
    /// Identifies the account among those of the same threads.
    #[must_use]
    pub fn id(&self) -> AccountId {
        self.id
    }

    /// The same account, whose further work adds to nothing for how long it waits.
    #[must_use]
    pub fn not_counting(&self) -> Self {
        Self { waited: Waited::default(), ..self.clone() }
    }

    /// The same account, whose work is charged to `other`, on its threads, once it has turned out to be
    /// long.
    #[must_use]
    pub fn then(self, other: Self) -> Self {
        Self { then: Some(Arc::new(other)), ..self }
    }

    /// Does `work` on the threads.
    pub fn spawn<F>(&self, work: F) -> Started<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (runnable, started) = self.prepare(work);
        runnable.schedule();
        started
    }

    /// Does on the threads what `work` makes of what `wait` returns, as soon as it does. Waiting begins
    /// here, at once, and takes none of the threads' time. If it ends with an error, that is all.
    pub fn spawn_after<W, E, F>(
        &self,
        wait: impl Future<Output = Result<W, E>> + Send + 'static,
        work: impl FnOnce(W) -> F + Send + 'static,
    ) -> Started<Result<F::Output, E>>
    where
        W: Send,
        E: Send + 'static,
        F: Future<Output: Send> + Send + 'static,
    {
        let here = thread::current().id();
        let (runnable, started) = self.prepare(async move {
            let came = wait.await?;
            if thread::current().id() == here {
                // There was nothing to wait for, and this is none of the threads.
                yield_once().await;
            }
            // Apart from what waits, which would be as large.
            Ok(Box::pin(work(came)).await)
        });
        runnable.run();
        started
    }

    fn prepare<F>(&self, work: F) -> (Runnable, Started<F::Output>)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let account = self.clone();
        let yields = AtomicU32::new(0);
        let schedule = move |work, info: ScheduleInfo| {
            let yielded = u32::from(info.woken_while_running);
            let is_long = yields.fetch_add(yielded, Relaxed) + yielded >= YIELDS_OF_LONG_WORK;
            let then = account.then.as_deref().filter(|_| is_long);
            then.unwrap_or(&account).push(work);
        };
        // A panic ends the work, not its thread.
        let work = AssertUnwindSafe(work).catch_unwind();
        let (runnable, task) = async_task::spawn(work, WithInfo(schedule));
        (runnable, Started(task.fallible()))
    }

    fn push(&self, work: Runnable) {
        let waited = self.waited.clone();
        self.shared.push(self.id, Waiting { work, since: Instant::now(), waited });
    }
}

/// Lets others run.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<T> Started<T> {
    /// What the work returned; `None` if it panicked, or the threads have stopped.
    pub async fn ended(self) -> Option<T> {
        self.0.await?.ok()
    }
}

impl Shared {
    fn push(&self, account: AccountId, work: Waiting) {
        let mut ready = self.ready.lock();
        if ready.stopped {
            drop(ready);
            // Cancels the work, outside the lock, which its destructor might need.
            drop(work);
            return;
        }
        ready.work.push(account, work);
        if ready.idle_threads > 0 {
            self.wake.notify_one();
        }
    }

    /// Works until the threads are stopped.
    fn work(&self) {
        let mut spent = None;
        while let Some((account, Waiting { work, since, waited })) = self.next(spent) {
            let began = Instant::now();
            waited.add(began.saturating_duration_since(since));
            work.run();
            let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            spent = Some((account, nanoseconds));
        }
    }

    /// Charges for what the thread has just done, and waits for what it does next. `None` when the
    /// threads are stopped.
    fn next(&self, spent: Option<(AccountId, u64)>) -> Option<(AccountId, Waiting)> {
        let mut ready = self.ready.lock();
        if let Some((account, nanoseconds)) = spent {
            ready.work.charge(account, nanoseconds);
        }
        loop {
            if ready.stopped {
                return None;
            }
            if let Some(next) = ready.work.pop() {
                return Some(next);
            }
            ready.idle_threads += 1;
            self.wake.wait(&mut ready);
            ready.idle_threads -= 1;
        }
    }
}

impl Drop for FairThreads {
    fn drop(&mut self) {
        let mut ready = self.shared.ready.lock();
        ready.stopped = true;
        let waiting = ready.work.clear();
        drop(ready);
        self.shared.wake.notify_all();
        drop(waiting);
        // A thread ends when its work yields. Waiting for that here could block a thread of the
        // asynchronous runtime.
        self.threads.clear();
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::future::pending;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::sync::{oneshot, watch};
    use tokio::time::timeout;

    use super::*;

    /// Longer than any of this takes.
    const DEADLINE: Duration = Duration::from_secs(60);

    fn threads(count: usize) -> FairThreads {
        FairThreads::start("weir-test", Work::Long, count, Some(&Handle::current())).unwrap()
    }

    /// Computes for this long, then lets others run.
    async fn step(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
        yield_once().await;
    }

    #[tokio::test]
    async fn an_account_with_much_work_gets_no_more_than_one_with_little() {
        let threads = threads(1);
        let group = threads.group(1);
        let [crowd, alone] = [(); 2].map(|()| threads.account(group, 1, Waited::default()));
        let (began, mut has_begun) = watch::channel(0);
        let began = Arc::new(began);
        let stop = Arc::new(AtomicBool::new(false));
        let steps = Arc::new(AtomicUsize::new(0));
        let many: Vec<_> = (0..50)
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
        for one in many {
            one.ended().await.unwrap();
        }
        // In turn, they would have made 50 steps for each of the 100.
        assert!((10..1_000).contains(&meanwhile), "{meanwhile} steps");
    }

    #[tokio::test]
    async fn what_work_waits_for_a_thread_is_added_up_if_its_account_counts() {
        const AT_LEAST: Duration = Duration::from_millis(2);
        let threads = threads(1);
        let waited = Waited::default();
        let account = threads.account(threads.group(1), 1, waited.clone());
        for (account, waits) in [(account.not_counting(), Duration::ZERO), (account, AT_LEAST)] {
            let (release, released) = std::sync::mpsc::channel::<()>();
            let before = account.not_counting().spawn(async move { released.recv().is_ok() });
            let waiting = account.spawn(async {});
            thread::sleep(AT_LEAST);
            release.send(()).unwrap();
            assert_eq!(before.ended().await, Some(true));
            waiting.ended().await.unwrap();
            let total = waited.total();
            assert!(total >= waits && (total.is_zero() == waits.is_zero()), "{total:?}");
        }
    }

    fn name() -> Option<String> {
        thread::current().name().map(ToOwned::to_owned)
    }

    #[tokio::test]
    async fn long_work_goes_on_on_other_threads() {
        let short = threads(1);
        let long = FairThreads::start("weir-long", Work::Long, 1, None).unwrap();
        let then = long.account(long.group(1), 1, Waited::default());
        let account = short.account(short.group(1), 1, Waited::default()).then(then);
        let names = account.spawn(async {
            let mut names = vec![name()];
            for _ in 0..YIELDS_OF_LONG_WORK {
                yield_once().await;
                names.push(name());
            }
            // It stays there, also after it has waited.
            tokio::task::yield_now().await;
            names.push(name());
            names
        });
        let [here, there] = ["weir-test", "weir-long"].map(|name| Some(name.to_owned()));
        assert_eq!(names.ended().await.unwrap(), [here.clone(), here, there.clone(), there]);
    }

    #[tokio::test]
    async fn work_that_waits_first_takes_no_turn_until_then() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1, Waited::default());
        let (release, released) = std::sync::mpsc::channel::<()>();
        let before = account.spawn(async move { released.recv().is_ok() });
        // The only thread is busy, so this begins to wait here, and ends here.
        let refused = account.spawn_after(async { Err::<(), _>(7) }, async |()| ());
        assert_eq!(refused.ended().await, Some(Err(7)));
        let at_once = account.spawn_after(async { Ok::<_, ()>(()) }, async |()| name());
        let (come, coming) = oneshot::channel();
        let (noted, dropped) = oneshot::channel();
        let noted = Noted(Some(noted));
        let waiting = async move {
            let _noted = noted;
            coming.await
        };
        let waits = account.spawn_after(waiting, async |came| (came, name()));
        come.send(7).unwrap();
        release.send(()).unwrap();
        assert_eq!(before.ended().await, Some(true));
        let there = Some("weir-test".to_owned());
        assert_eq!(at_once.ended().await, Some(Ok(there.clone())));
        assert_eq!(waits.ended().await, Some(Ok((7, there))));
        dropped.await.unwrap();
    }

    #[tokio::test]
    async fn work_that_panics_ends_alone() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1, Waited::default());
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
    async fn work_that_nobody_waits_for_is_dropped() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1, Waited::default());
        let (noted, dropped) = oneshot::channel();
        let noted = Noted(Some(noted));
        let (began, has_begun) = oneshot::channel();
        let one = account.spawn(async move {
            let _noted = noted;
            began.send(()).unwrap();
            pending::<()>().await;
        });
        has_begun.await.unwrap();
        drop(one);
        dropped.await.unwrap();
    }

    #[tokio::test]
    async fn work_ends_with_its_threads() {
        let threads = threads(1);
        let account = threads.account(threads.group(1), 1, Waited::default());
        let (began, has_begun) = oneshot::channel();
        let one = account.spawn(async move {
            began.send(()).unwrap();
            loop {
                step(Duration::from_micros(100)).await;
            }
        });
        has_begun.await.unwrap();
        drop(threads);
        assert_eq!(one.ended().await, None::<()>);
        assert_eq!(account.spawn(async { 7 }).ended().await, None);
    }
}
