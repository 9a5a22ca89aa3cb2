//! Who gets what, as a list of cases.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Takes single units for `key` until it is refused.
fn take_all(shares: &Shares<&'static str>, key: &'static str) -> Vec<Share<&'static str>> {
    std::iter::from_fn(|| shares.try_take(&key, 1, 1)).collect()
}

#[test]
fn each_greedy_key_leaves_a_part_for_the_next() {
    let shares = Shares::new(60, 1, 0);
    let mut all = Vec::new();
    for (key, held) in [("a", 30), ("b", 15), ("c", 8), ("d", 4)] {
        all.push(take_all(&shares, key));
        assert_eq!(shares.held(&key), held, "{key}");
    }
    assert_eq!(shares.free(), 3);
    drop(all);
    assert_eq!(shares.free(), 60);
}

#[test]
fn weight_and_generosity_multiply_what_a_key_may_hold() {
    for (generosity, weight, held) in [(1, 1, 30), (2, 1, 40), (1, 2, 40), (2, 2, 48)] {
        let shares = Shares::new(60, generosity, 0);
        let mut all = Vec::new();
        while let Some(share) = shares.try_take(&"a", weight, 1) {
            all.push(share);
        }
        assert_eq!(all.len(), held, "{generosity} {weight}");
    }
}

#[test]
fn a_key_that_holds_nothing_may_take_all_that_is_free() {
    let shares = Shares::new(10, 1, 0);
    assert!(shares.try_take(&"a", 1, 11).is_none());
    let all = shares.try_take(&"a", 1, 10).unwrap();
    assert!(shares.try_take(&"b", 1, 1).is_none());
    drop(all);
    assert_eq!(shares.free(), 10);
}

#[test]
fn what_becomes_free_goes_to_the_key_that_holds_the_least() {
    let shares = Shares::new(8, 1, 8);
    let mut greedy = take_all(&shares, "greedy");
    let mut small = take_all(&shares, "small");
    let rest = shares.try_take(&"rest", 1, 2).unwrap();
    assert_eq!((greedy.len(), small.len(), shares.free()), (4, 2, 0));
    let mut late = pin!(shares.take(&"greedy", 1, 1));
    let mut more = pin!(shares.take(&"small", 1, 1));
    let mut new = pin!(shares.take(&"new", 1, 1));
    for waiting in [&mut late, &mut more, &mut new] {
        assert!(poll(waiting.as_mut()).is_pending());
    }
    drop(greedy.pop());
    let Poll::Ready(Ok(_new)) = poll(new.as_mut()) else { panic!("it holds nothing") };
    drop(small.pop());
    assert!(poll(more.as_mut()).is_pending(), "more than would be left");
    drop(rest);
    assert!(poll(more.as_mut()).is_ready());
    assert!(poll(late.as_mut()).is_pending());
    greedy.clear();
    assert!(poll(late.as_mut()).is_ready());
}

#[test]
fn of_those_who_may_the_one_that_holds_the_least_is_next() {
    let shares = Shares::new(4, 8, 8);
    let mut greedy = shares.try_take(&"greedy", 1, 3).unwrap();
    let _small = shares.try_take(&"small", 1, 1).unwrap();
    let mut late = pin!(shares.take(&"greedy", 1, 1));
    let mut more = pin!(shares.take(&"small", 1, 1));
    assert!(poll(late.as_mut()).is_pending() && poll(more.as_mut()).is_pending());
    greedy.shrink_to(2);
    assert!(poll(late.as_mut()).is_pending());
    assert!(poll(more.as_mut()).is_ready());
}

#[test]
fn nobody_overtakes_within_a_key() {
    let shares = Shares::new(2, 1, 8);
    let held = shares.try_take(&"b", 1, 1).unwrap();
    let mut first = pin!(shares.take(&"a", 1, 2));
    assert!(poll(first.as_mut()).is_pending());
    assert!(shares.try_take(&"a", 1, 1).is_none(), "another unit is free, but not its turn");
    let mut other = pin!(shares.take(&"a", 1, 1));
    assert!(poll(other.as_mut()).is_pending());
    drop(held);
    let Poll::Ready(Ok(first)) = poll(first.as_mut()) else { panic!("it is next") };
    assert!(poll(other.as_mut()).is_pending());
    drop(first);
    assert!(poll(other.as_mut()).is_ready());
}

#[test]
fn a_caller_that_leaves_takes_nothing_with_it() {
    let shares = Shares::new(1, 1, 2);
    let held = shares.try_take(&"a", 1, 1).unwrap();
    {
        let mut left = pin!(shares.take(&"a", 1, 1));
        assert!(poll(left.as_mut()).is_pending());
        let mut granted = pin!(shares.take(&"b", 1, 1));
        assert!(poll(granted.as_mut()).is_pending());
        drop(held);
        // One of them has the unit now, and is dropped before it looks.
    }
    assert_eq!(shares.free(), 1);
    assert_eq!(shares.inner.state.lock().keys.len(), 0);
}

#[test]
fn the_queue_of_a_key_is_bounded_and_forgets_who_left() {
    let shares = Shares::new(1, 1, 1);
    let held = shares.try_take(&"a", 1, 1).unwrap();
    {
        let mut waits = pin!(shares.take(&"a", 1, 1));
        assert!(poll(waits.as_mut()).is_pending());
        assert!(matches!(poll(pin!(shares.take(&"a", 1, 1))), Poll::Ready(Err(Crowded))));
        assert!(poll(pin!(shares.take(&"b", 1, 1))).is_pending(), "another key's queue");
    }
    let mut again = pin!(shares.take(&"a", 1, 1));
    assert!(poll(again.as_mut()).is_pending(), "those before have left");
    drop(held);
    assert!(poll(again.as_mut()).is_ready());
}

#[test]
fn a_share_grows_within_what_its_key_may_hold() {
    let shares = Shares::new(10, 1, 0);
    let mut share = shares.try_take(&"a", 1, 1).unwrap();
    assert!(share.try_grow(4));
    assert!(!share.try_grow(1), "half of it");
    share.shrink_to(2);
    assert_eq!((share.units(), shares.held(&"a"), shares.free()), (2, 2, 8));
}

#[test]
fn callers_ahead_are_counted_by_turns() {
    let shares = Shares::new(2, usize::MAX, 9);
    let _held = shares.try_take(&"a", 1, 2).unwrap();
    let mut waiting: Vec<_> =
        [&"a", &"a", &"a", &"b"].map(|key| Box::pin(shares.take(key, 1, 1))).into();
    for one in &mut waiting {
        assert!(poll(one.as_mut()).is_pending());
    }
    let ahead = |key| shares.ahead(&key);
    assert_eq!((ahead("a"), ahead("b"), ahead("c")), (4, 3, 2));
    waiting.pop();
    assert_eq!((ahead("a"), ahead("b"), ahead("c")), (3, 1, 1));
}

proptest! {
    /// Whatever is taken, grown, dropped and resized: the units add up, and a key that holds nothing is
    /// only refused if less is free than it asks for.
    #[test]
    fn units_are_neither_lost_nor_invented(
        steps in prop::collection::vec((0..4_u8, 0..4_u8, 1..6_usize), 1..200),
    ) {
        let shares = Shares::new(16, 1, 4);
        let mut total = 16;
        let mut held: Vec<Share<u8>> = Vec::new();
        for (step, key, units) in steps {
            match step {
                0 => {
                    let before = (shares.held(&key), shares.free());
                    match shares.try_take(&key, 1, units) {
                        Some(share) => held.push(share),
                        None => prop_assert!(before.0 > 0 || units > before.1),
                    }
                }
                1 => {
                    if let Some(share) = held.first_mut() {
                        let _ = share.try_grow(units);
                    }
                }
                2 => {
                    total = units * 5;
                    shares.resize(total);
                }
                _ => drop(held.pop()),
            }
            let sum: usize = held.iter().map(Share::units).sum();
            prop_assert_eq!(shares.free(), total.saturating_sub(sum));
        }
    }
}
