//! Trimming: what is forgotten, what is kept, and how it releases writes.

use super::*;
use crate::Past;
use crate::sqlite::trim::ROWS;

async fn count(f: &Fixture, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&f.truth.shared.readers).await.unwrap()
}

#[tokio::test]
async fn what_is_trimmed_cannot_be_read() {
    let f = Fixture::new().await;
    for text in ["1", "2", "3"] {
        let at = f.put_one("a", text).await;
        f.keep(at.0).await;
    }
    assert_eq!(f.trim(3).await, 3);
    assert_eq!(f.trim(2).await, 3, "not backwards");
    let at = Position(2);
    let (docs, a) = (&f.docs, [doc("a")]);
    let refusals = [
        f.truth.log(docs, at, 10).await.map(drop),
        f.truth.news(at).await.map(drop),
        f.truth.documents_at(docs, &a, at).await.map(drop),
        f.truth.scan(docs, at, None, 10).await.map(drop),
        f.truth.collections_at(at).await.map(drop),
        f.truth.statistics_at(docs, at).await.map(drop),
    ];
    for refusal in refusals {
        let Err(TruthError::Trimmed { at, trimmed }) = refusal else { panic!("{refusal:?}") };
        assert_eq!((at.0, trimmed.0), (2, 3));
    }
    assert!(matches!(f.truth.history(at).await.unwrap(), Past::Known(_)), "chains are kept");
    for (at, text) in [(3, "2"), (4, "3")] {
        let read = f.truth.documents_at(docs, &a, Position(at)).await.unwrap();
        assert_eq!(&*read[0].text, text, "at {at}");
    }
    assert_eq!(f.log(3, 10).await, ["4 +a", "4 rolled"]);
    assert_eq!(f.trim(u64::MAX).await, 4, "not beyond the last commit");
    assert_eq!(f.truth.trimmed().await.unwrap(), f.truth.head().await.unwrap());
}

#[tokio::test]
async fn a_roll_without_statistics_is_not_passed() {
    let f = Fixture::new().await;
    let other = name("other");
    f.truth.create_collection(&other).await.unwrap();
    f.put_one("a", "1").await;
    f.truth.put(&other, vec![document("a", "1")], None).await.unwrap();
    f.put_one("a", "2").await;
    f.truth.drop_collection(&other).await.unwrap();
    f.truth.create_collection(&other).await.unwrap();
    // Rolls: docs 3 and 5; other 4, which is dropped at 6.
    assert_eq!(f.trim(7).await, 2, "before the first roll");
    f.keep(5).await;
    assert_eq!(f.trim(5).await, 2, "at 5, 'other' has no statistics; before it, 'docs' has none");
    assert_eq!(f.trim(7).await, 7, "'other' has been dropped");
    f.put_one("a", "3").await;
    f.keep(9).await;
    assert_eq!(f.trim(8).await, 7);
    f.keep(8).await;
    assert_eq!(f.trim(8).await, 8);
}

#[tokio::test]
async fn a_dropped_collection_is_deleted_in_several_transactions() {
    let f = Fixture::new().await;
    let many = u64::from(ROWS) * 2 + 500;
    let documents = |text| (0..many).map(|i| document(&i.to_string(), text)).collect::<Vec<_>>();
    f.put(documents("first")).await.unwrap();
    f.put(documents("second")).await.unwrap();
    f.truth.drop_collection(&f.docs).await.unwrap();
    f.truth.create_collection(&f.docs).await.unwrap();
    f.put_one("a", "new").await;
    let page = f.truth.scan(&f.docs, Position(3), None, u32::MAX).await.unwrap().unwrap();
    assert_eq!(page.len() as u64, many, "still there");
    f.keep(2).await;
    f.keep(3).await;
    f.keep(6).await;
    assert_eq!(f.trim(4).await, 4);
    assert_eq!(f.truth.collections_at(Position(4)).await.unwrap(), []);
    for (statement, expected) in [
        ("SELECT count(*) FROM documents", 1),
        ("SELECT count(*) FROM collections", 1),
        ("SELECT count(*) FROM statistics", 1),
        ("SELECT count(*) FROM changes", 3),
    ] {
        assert_eq!(count(&f, statement).await, expected, "{statement}");
    }
    assert_eq!(f.truth.backlog_bytes(), 300, "the lines of two commits");
    assert_eq!(f.text("a").await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_trim_that_was_cut_short_is_finished_by_the_next() {
    let f = Fixture::new().await;
    f.put_one("a", "1").await;
    f.put_one("a", "2").await;
    f.keep(3).await;
    let cut = "UPDATE truth SET trimmed = 3";
    sqlx::query(cut).execute(&f.truth.shared.writer).await.unwrap();
    assert_eq!(f.trim(3).await, 3);
    assert_eq!(count(&f, "SELECT count(*) FROM documents").await, 1);
    assert_eq!(count(&f, "SELECT count(*) FROM changes").await, 0);
    assert_eq!(f.truth.backlog_bytes(), 0);
}

#[tokio::test]
async fn the_backlog_is_measured_again_when_the_file_is_opened() {
    let f = Fixture::new().await;
    let other = name("other");
    f.truth.create_collection(&other).await.unwrap();
    f.truth.put(&other, vec![document("b", "four")], None).await.unwrap();
    f.truth.drop_collection(&other).await.unwrap();
    f.put_one("a", "text").await;
    f.put_one("a", "other text").await;
    f.truth.delete(&f.docs, vec![doc("a")]).await.unwrap();
    let lines = 1 + 1 + 2 + 1 + 2 + 2 + 2;
    // Text, "{}" and "[[0,4]]" or "[[0,10]]".
    let versions = (4 + 2 + 7) + (4 + 2 + 7) + (10 + 2 + 8);
    let bytes = f.truth.backlog_bytes();
    assert_eq!(bytes, lines * 100 + versions);
    let reopened = SqliteTruth::open(f.folder.path(), LIMITS).await.unwrap();
    assert_eq!(reopened.backlog_bytes(), bytes);
}

#[tokio::test]
async fn writes_are_refused_while_the_backlog_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let truth = SqliteTruth::open(folder.path(), Limits { max_backlog_bytes: 300, ..LIMITS })
        .await
        .unwrap();
    let docs = name("docs");
    let key = IdempotencyKey { key: "k".into(), fingerprint: [1; 32] };
    truth.create_collection(&docs).await.unwrap();
    let put = truth.put(&docs, vec![document("a", "1")], Some(key.clone())).await.unwrap();
    truth.put(&docs, vec![document("a", "2")], None).await.unwrap();
    let f = Fixture { truth, docs, folder };

    let refusals = [
        f.put(vec![document("b", "text")]).await.map(drop),
        f.truth.delete(&f.docs, vec![doc("a")]).await.map(drop),
        f.truth.create_collection(&name("other")).await.map(drop),
        f.truth.drop_collection(&f.docs).await.map(drop),
    ];
    for refusal in refusals {
        let Err(TruthError::BacklogFull { bytes, limit: 300 }) = refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(bytes, 500 + 1 + 2 + 7);
    }
    assert_eq!(f.position().await, 3);
    let replayed = f.put_under(&key, "1").await.unwrap();
    assert_eq!(replayed, Committed { replayed: true, ..put });

    f.keep(3).await;
    assert_eq!(f.trim(3).await, 3);
    assert_eq!(f.truth.backlog_bytes(), 0);
    assert_eq!(f.put_one("b", "text").await, Position(4));
}

#[tokio::test]
async fn the_chain_values_of_the_newest_commits_are_kept() {
    let f = Fixture::new().await;
    f.put_one("a", "1").await;
    f.keep(2).await;
    // As if a million commits followed.
    for statement in [
        "UPDATE counter SET position = 1000002",
        "INSERT INTO commits (position, chain, committed_ms) VALUES (1000002, 7, 0)",
    ] {
        sqlx::query(statement).execute(&f.truth.shared.writer).await.unwrap();
    }
    let known = async |at| f.truth.history(Position(at)).await.unwrap() != Past::Forgotten;
    assert_eq!(f.trim(1).await, 1);
    assert_eq!((known(1).await, known(2).await), (true, true), "not trimmed");
    assert_eq!(f.trim(1_000_002).await, 1_000_002);
    assert_eq!((known(1).await, known(2).await), (false, true), "one of the last million");
}
