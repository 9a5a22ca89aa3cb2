//! Idempotency keys: one commit per key, other requests are refused, and the number of keys is
//! bounded.

use futures::future::join_all;

use std::sync::Arc;

use super::*;
use crate::Past;
use crate::sqlite::idempotency::{KEPT_MS, MAX_KEYS};

fn key(text: &str, fingerprint: u8) -> IdempotencyKey {
    IdempotencyKey { key: text.into(), fingerprint: [fingerprint; 32] }
}

/// The position of a result, and whether it was replayed.
fn told(committed: Committed) -> (u64, bool) {
    (position(committed.commit), committed.replayed)
}

#[tokio::test]
async fn a_repeated_request_is_answered_without_being_carried_out() {
    let f = Fixture::new().await;
    assert_eq!(f.truth.replay(&key("k", 1)).await.unwrap(), None);
    let first = f.put_under(&key("k", 1), "first").await.unwrap();
    assert_eq!(told(first), (2, false));
    f.put_one("a", "second").await;

    assert_eq!(f.truth.replay(&key("k", 1)).await.unwrap().map(told), Some((2, true)));
    let replayed = Committed { replayed: true, ..first };
    assert_eq!(f.put_under(&key("k", 1), "first").await.unwrap(), replayed, "the chain value too");
    assert_eq!(f.text("a").await.as_deref(), Some("second"));

    let reused = f.put_under(&key("k", 2), "third").await;
    assert!(matches!(reused, Err(TruthError::IdempotencyKeyReused)));
    let reused = f.truth.replay(&key("k", 2)).await;
    assert!(matches!(reused, Err(TruthError::IdempotencyKeyReused)));
    assert_eq!(f.text("a").await.as_deref(), Some("second"));
    assert_eq!(told(f.put_under(&key("other", 1), "third").await.unwrap()), (4, false));
}

#[tokio::test]
async fn a_request_that_failed_leaves_no_key() {
    let f = Fixture::new().await;
    let other = name("other");
    let put = || f.truth.put(&other, vec![document("a", "text")], Some(key("k", 1)));
    assert!(matches!(put().await, Err(TruthError::UnknownCollection(_))));
    f.truth.create_collection(&other).await.unwrap();
    assert_eq!(told(put().await.unwrap()), (3, false));
}

#[tokio::test]
async fn a_key_whose_request_changed_nothing_is_kept() {
    let f = Fixture::new().await;
    f.put_one("a", "text").await;
    assert_eq!(told(f.put_under(&key("k", 1), "text").await.unwrap()), (2, false));
    f.put_one("a", "other text").await;
    assert_eq!(told(f.put_under(&key("k", 1), "text").await.unwrap()), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_requests_with_one_key_commit_once() {
    let f = Arc::new(Fixture::new().await);
    let puts = (0..16).map(|_| {
        let f = Arc::clone(&f);
        tokio::spawn(async move { f.put_under(&key("k", 1), "text").await.unwrap() })
    });
    let all: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
    assert!(all.iter().all(|committed| position(committed.commit) == 2), "{all:?}");
    assert_eq!(all.iter().filter(|committed| !committed.replayed).count(), 1);
    assert_eq!(f.position().await, 2);
}

#[tokio::test]
async fn old_keys_are_forgotten() {
    let f = Fixture::new().await;
    f.put_under(&key("old", 1), "first").await.unwrap();
    let age = "UPDATE idempotency_keys SET stored_ms = stored_ms - ?";
    sqlx::query(age).bind(KEPT_MS + 1_000).execute(&f.truth.shared.writer).await.unwrap();
    assert_eq!(f.truth.replay(&key("old", 1)).await.unwrap(), None);
    assert_eq!(told(f.put_under(&key("old", 2), "second").await.unwrap()), (3, false));
    assert_eq!(f.truth.replay(&key("old", 2)).await.unwrap().map(told), Some((3, true)));
}

/// Moves the wall clock of what is stored, as if the clock had been ahead then, or behind.
async fn written_by_a_clock_that_was_ahead(f: &Fixture, days: i64) {
    let ms = days * 24 * 60 * 60 * 1_000;
    for ahead in [
        "UPDATE idempotency_keys SET stored_ms = stored_ms + ?",
        "UPDATE commits SET committed_ms = committed_ms + ?",
    ] {
        sqlx::query(ahead).bind(ms).execute(&f.truth.shared.writer).await.unwrap();
    }
}

#[tokio::test]
async fn a_clock_that_jumps_costs_no_more_than_the_keys_that_seem_old() {
    // Since the clock was set back by days, and since it was set forward.
    for (days, kept) in [(400, true), (3, true), (-3, false), (-400, false)] {
        let f = Fixture::new().await;
        let first = f.put_under(&key("k", 1), "first").await.unwrap();
        written_by_a_clock_that_was_ahead(&f, days).await;
        let replayed = f.truth.replay(&key("k", 1)).await.unwrap().map(told);
        assert_eq!(replayed, kept.then_some((2, true)), "{days} days");
        // A write comes later than what was there, and is refused by no clock.
        assert_eq!(f.put_one("a", "second").await, Position(3));
        assert_eq!(told(f.put_under(&key("l", 1), "third").await.unwrap()), (4, false));
        assert_eq!(told(f.put_under(&key("l", 1), "third").await.unwrap()), (4, true));
        // The repeated request is carried out again if its key is forgotten.
        let again = f.put_under(&key("k", 1), "first").await.unwrap();
        assert_eq!(told(again), if kept { (2, true) } else { (5, false) }, "{days} days");
        assert_eq!(f.truth.history(Position(2)).await.unwrap(), Past::Known(first.commit.chain));
        assert_eq!(f.trim(4).await, 1, "nothing is trimmed by age");
    }
}

#[tokio::test]
async fn the_newest_keys_are_kept() {
    let f = Fixture::new().await;
    f.put_under(&key("oldest", 1), "first").await.unwrap();
    f.put_under(&key("second", 1), "second").await.unwrap();
    let skip = "UPDATE idempotency_keys SET sequence = ? WHERE key = 'second'";
    sqlx::query(skip).bind(MAX_KEYS).execute(&f.truth.shared.writer).await.unwrap();
    f.put_under(&key("newest", 1), "third").await.unwrap();
    assert_eq!(f.truth.replay(&key("oldest", 1)).await.unwrap(), None);
    assert_eq!(f.truth.replay(&key("second", 1)).await.unwrap().map(told), Some((3, true)));
}
