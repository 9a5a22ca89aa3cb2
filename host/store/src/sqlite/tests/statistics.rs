//! Epochs: which commits roll, and which statistics are kept.

use super::*;
use crate::sqlite::statistics::is_roll;

/// A document of `n` chunks, each a byte of `text` repeated.
fn chunked(id: &str, letter: &str, n: u32) -> NewDocument {
    let text = letter.repeat(n as usize);
    NewDocument { chunks: (0..n).map(|i| i..i + 1).collect(), ..document(id, &text) }
}

fn is_rolled(lines: &[String]) -> bool {
    lines.iter().any(|line| line.ends_with("rolled"))
}

#[test]
fn a_commit_rolls_by_the_rule() {
    let cases = [
        (0, 0, false),
        (0, 1, true),
        (127, 0, false),
        (127, 1, true),
        (128, 12, false),
        (128, 13, true),
        (1_000, 100, false),
        (1_000, 101, true),
    ];
    for (chunks, changed, expected) in cases {
        assert_eq!(is_roll(chunks, changed), expected, "{changed} of {chunks}");
    }
}

#[tokio::test]
async fn changed_chunks_are_counted_until_the_next_roll() {
    let f = Fixture::new().await;
    // Each put with whether it is a roll, and why.
    let puts = [
        (document("empty", ""), true, "its one chunk is empty, but a chunk"),
        (NewDocument { chunks: Vec::new(), ..document("none", "") }, false, "no chunk"),
        (chunked("large", "x", 199), true, "small so far: 200 chunks now"),
        (chunked("a", "x", 9), false, "9 changed"),
        (chunked("a", "x", 9), false, "not a change"),
        (chunked("b", "x", 11), false, "20 changed, a tenth"),
        (chunked("c", "x", 1), true, "21 changed: 221 chunks now"),
        (chunked("b", "y", 11), false, "22 changed: both versions count"),
        (NewDocument { metadata: r#"{"a":1}"#.into(), ..chunked("c", "x", 1) }, true, "24 changed"),
    ];
    for (put, expected, why) in puts {
        let before = f.position().await;
        f.put(vec![put]).await.unwrap();
        let lines = f.log(before, 100).await;
        assert_eq!(is_rolled(&lines), expected, "{why}: {lines:?}");
        assert!(!expected || lines.last().unwrap().ends_with("rolled"), "the last line");
    }
    let before = f.position().await;
    f.truth.delete(&f.docs, vec![doc("a"), doc("b")]).await.unwrap();
    assert!(!is_rolled(&f.log(before, 100).await), "20 of 221 deleted");
    let before = f.position().await;
    f.truth.delete(&f.docs, vec![doc("c"), doc("empty"), doc("none")]).await.unwrap();
    assert!(!is_rolled(&f.log(before, 100).await), "22 of 221 changed");
    f.truth.delete(&f.docs, vec![doc("large")]).await.unwrap();
    assert!(is_rolled(&f.log(before, 100).await));
}

#[tokio::test]
async fn statistics_are_those_of_the_epoch_at_the_position() {
    let f = Fixture::new().await;
    let at = async |at| {
        let kept = f.truth.statistics_at(&f.docs, Position(at)).await.unwrap();
        kept.map(|kept| (kept.epoch.0, kept.encoded))
    };
    let keep = async |epoch, byte| {
        let statistics = KeptStatistics { epoch: Position(epoch), encoded: vec![byte] };
        f.truth.keep_statistics(&f.docs, statistics).await.unwrap();
    };
    f.put_one("a", "1").await;
    f.put_one("a", "2").await;
    f.put(vec![NewDocument { chunks: Vec::new(), ..document("b", "") }]).await.unwrap();
    assert_eq!(f.log(3, 10).await, ["4 +b"], "not a roll");
    for epoch in [1, 4, 5] {
        keep(epoch, 9).await;
    }
    assert_eq!(at(4).await, None, "nothing was kept for what is not a roll");
    keep(3, 3).await;
    keep(3, 9).await;
    let cases = [(1, None), (2, None), (3, Some((3, vec![3]))), (4, Some((3, vec![3])))];
    for (position, expected) in cases {
        assert_eq!(at(position).await, expected, "at {position}");
    }
    keep(2, 2).await;
    assert_eq!(at(2).await, Some((2, vec![2])));

    f.truth.drop_collection(&f.docs).await.unwrap();
    f.truth.create_collection(&f.docs).await.unwrap();
    assert_eq!(at(4).await, Some((3, vec![3])), "still readable");
    assert_eq!((at(5).await, at(6).await), (None, None), "dropped, and another collection");
    let unknown = f.truth.statistics_at(&name("other"), Position(4)).await.unwrap();
    assert_eq!(unknown, None);
}

#[tokio::test]
async fn the_statistics_at_the_beginning_outlive_their_line() {
    let f = Fixture::new().await;
    f.put_one("a", "1").await;
    f.put_one("a", "2").await;
    f.put(vec![NewDocument { chunks: Vec::new(), ..document("b", "") }]).await.unwrap();
    f.keep(2).await;
    f.keep(3).await;
    assert_eq!(f.trim(4).await, 4);
    assert!(f.log(4, 10).await.is_empty());
    let kept = f.truth.statistics_at(&f.docs, Position(4)).await.unwrap();
    assert_eq!(kept.map(|kept| kept.epoch), Some(Position(3)));
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM statistics")
        .fetch_one(&f.truth.shared.readers)
        .await
        .unwrap();
    assert_eq!(rows, 1, "older statistics are deleted");
}
