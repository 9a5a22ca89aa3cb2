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
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_task::{FallibleTask, Runnable};
use futures::FutureExt as _;
use nix::time::ClockId;
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use crate::priority::{self, Work};
use crate::turns::{AccountId, GroupId, Turns};
use crate::waited::Waited;

/// Work is long when it has computed for this many nanoseconds: several times as long as most runs do, and
/// so little that an answer can wait for it.
const LONG_NANOSECONDS: u64 = 1_000_000;

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
    computed: Computed,
}

/// For how many nanoseconds work has computed.
type Computed = Arc<AtomicU64>;

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
        let computed = Computed::default();
        let schedule = move |work| {
            let is_long = computed.load(Relaxed) >= LONG_NANOSECONDS;
            let then = account.then.as_deref().filter(|_| is_long);
            then.unwrap_or(&account).push(work, &computed);
        };
        // A panic ends the work, not its thread.
        let work = AssertUnwindSafe(work).catch_unwind();
        let (runnable, task) = async_task::spawn(work, schedule);
        (runnable, Started(task.fallible()))
    }

    fn push(&self, work: Runnable, computed: &Computed) {
        let (waited, computed) = (self.waited.clone(), Arc::clone(computed));
        self.shared.push(self.id, Waiting { work, since: Instant::now(), waited, computed });
    }
}

/// For how long this thread has computed. The time that other threads take from it is not its work's.
/// Not by rustix, which reads the kernel's vDSO itself and crashes under valgrind.
fn time_of_this_thread() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
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
        let mut before = time_of_this_thread();
        while let Some((account, Waiting { work, since, waited, computed })) = self.next(spent) {
            waited.add(since.elapsed());
            work.run();
            let now = time_of_this_thread();
            let nanoseconds = u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX);
            computed.fetch_add(nanoseconds, Relaxed);
            spent = Some((account, nanoseconds));
            before = now;
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
mod tests;
