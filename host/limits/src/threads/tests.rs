//! Whose work is next, and where it is done.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
        // However often it yields: that is not what makes it long.
        for _ in 0..10 {
            yield_once().await;
        }
        let before = name();
        while name() == before {
            step(Duration::from_micros(100)).await;
        }
        // It stays there, also after it has waited.
        tokio::task::yield_now().await;
        [before, name()]
    });
    let names = timeout(DEADLINE, names.ended()).await.unwrap().unwrap();
    assert_eq!(names, ["weir-test", "weir-long"].map(|name| Some(name.to_owned())));
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
