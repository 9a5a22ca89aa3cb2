//! Files of older versions. In those of version 0.2, what was stored is what the history begins with.

use sqlx::migrate::Migrator;

use super::*;
use crate::Past;
use crate::sqlite::{MIGRATIONS, open_writer, options};

/// Writes a file as version 0.2 did, and opens it.
async fn migrated(data: &[&'static str]) -> Fixture {
    migrated_from(1, data).await
}

/// Writes a file as it was after the first so many migrations, and opens it.
async fn migrated_from(migrations: usize, data: &[&'static str]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("truth.sqlite");
    let old = open_writer(&file, options(&file).create_if_missing(true)).await.unwrap();
    let first = MIGRATIONS.iter().take(migrations).cloned().collect();
    Migrator::with_migrations(first).run(&old).await.unwrap();
    for statement in data {
        sqlx::query(*statement).execute(&old).await.unwrap();
    }
    old.close().await;
    let truth = SqliteTruth::open(folder.path(), LIMITS).await.unwrap();
    Fixture { truth, docs: name("docs"), folder }
}

const DATA: [&str; 6] = [
    "UPDATE counter SET position = 5",
    "INSERT INTO collections (key, name, created) VALUES (1, 'docs', 1), (7, 'newest', 5)",
    "INSERT INTO documents (collection, id, version, chunks, metadata, text)
     VALUES (1, 'a', 4, '[[0,4]]', '{}', 'text'), (1, 'b', 3, '[[0,1],[1,3]]', '{\"n\":1}', 'abc')",
    "INSERT INTO changes (position, document, collection, kind)
     VALUES (1, '', 'docs', 0), (2, 'a', 'docs', 2), (3, 'b', 'docs', 2), (4, 'a', 'docs', 2),
       (5, '', 'newest', 0)",
    "INSERT INTO idempotency_keys (key, fingerprint, position, stored_ms)
     VALUES ('k', zeroblob(32), 3, unixepoch() * 1000)",
    "DELETE FROM collections WHERE name = 'never'",
];

#[tokio::test]
async fn the_history_of_an_old_file_begins_at_its_last_commit() {
    let f = migrated(&DATA).await;
    let head = f.truth.head().await.unwrap();
    assert_eq!(position(head), 5);
    assert_eq!(f.truth.trimmed().await.unwrap(), head);
    assert_eq!(f.truth.history(Position(5)).await.unwrap(), Past::Known(head.chain));
    assert_eq!(f.truth.history(Position(4)).await.unwrap(), Past::Forgotten);
    assert_eq!(f.truth.backlog_bytes(), 0);
    assert!(f.truth.news(Position(5)).await.unwrap().collections.is_empty());
    assert!(matches!(f.truth.news(Position(4)).await, Err(TruthError::Trimmed { .. })));

    let at = Position(5);
    assert_eq!(f.truth.collections_at(at).await.unwrap(), [name("docs"), name("newest")]);
    let documents = f.truth.scan(&f.docs, at, None, 10).await.unwrap().unwrap();
    let read: Vec<_> = documents.iter().map(|d| (d.id.as_str(), &*d.text, d.version.0)).collect();
    assert_eq!(read, [("a", "text", 4), ("b", "abc", 3)]);
    assert_eq!(documents[1].chunks, [0..1, 1..3]);
    let (collections, _) = f.truth.collections().await.unwrap();
    let sizes: Vec<_> = collections.iter().map(|c| (position(c.created), c.documents)).collect();
    assert_eq!(sizes, [(1, 2), (5, 0)]);
    assert_eq!(collections[1].created, head);

    let key = IdempotencyKey { key: "k".into(), fingerprint: [0; 32] };
    let replayed = Committed { commit: head, replayed: true };
    assert_eq!(f.truth.replay(&key).await.unwrap(), Some(replayed));
}

#[tokio::test]
async fn the_beginning_of_a_migrated_history_counts_as_a_roll() {
    let f = migrated(&DATA).await;
    let sizes: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "SELECT chunks, chunks_at_roll, chunks_changed, bytes, charged
         FROM collections WHERE name = 'docs'",
    )
    .fetch_one(&f.truth.shared.readers)
    .await
    .unwrap();
    assert_eq!(sizes, (3, 3, 0, (7 + 2 + 4) + (13 + 7 + 3), (2 + 4) + (7 + 3)));
    assert_eq!(f.put_one("a", "changed").await, Position(6));
    assert_eq!(f.log(5, 10).await, ["6 +a", "6 rolled"], "a small collection");
    assert_eq!(f.truth.statistics_at(&f.docs, Position(5)).await.unwrap(), None);
    f.keep(6).await;
    assert_eq!(f.trim(6).await, 5, "'newest' has no statistics");
    let newest = KeptStatistics { epoch: Position(5), encoded: Vec::new() };
    f.truth.keep_statistics(&name("newest"), newest.clone()).await.unwrap();
    let kept = f.truth.statistics_at(&name("newest"), Position(6)).await.unwrap();
    assert_eq!(kept, Some(newest));
    assert_eq!(f.trim(6).await, 6);
}

#[tokio::test]
async fn an_empty_old_file_begins_before_the_first_commit() {
    let f = migrated(&[]).await;
    assert_eq!(f.truth.head().await.unwrap(), Commit::ZERO);
    assert_eq!(f.truth.trimmed().await.unwrap(), Commit::ZERO);
    assert_eq!(f.trim(10).await, 0);
    let (made, commit) = f.truth.create_collection(&f.docs).await.unwrap();
    assert_eq!((position(made.created), commit), (1, Some(made.created)));
}

#[tokio::test]
async fn each_migration_of_a_copy_is_another_history() {
    let (f, g) = (migrated(&DATA).await, migrated(&DATA).await);
    assert_ne!(f.truth.head().await.unwrap(), g.truth.head().await.unwrap());
}

/// Only the current versions in collections that exist count.
#[tokio::test]
async fn a_file_that_does_not_know_what_its_documents_are_charged_for_counts_them() {
    let f = migrated_from(
        3,
        &[
            "UPDATE counter SET position = 6",
            "INSERT INTO commits (position, chain, committed_ms) VALUES (6, 1, 0)",
            "INSERT INTO collections (key, name, created, created_chain, dropped, last, documents)
             VALUES (1, 'docs', 2, 0, NULL, 4, 2), (2, 'docs', 0, 0, 1, 1, 1),
               (3, 'empty', 6, 1, NULL, 6, 0)",
            "INSERT INTO documents (collection, id, version, ended, chunks, metadata, text)
             VALUES (1, 'a', 2, 4, '[]', '{}', 'superseded'), (1, 'a', 4, NULL, '[]', '{}', 'new'),
               (1, 'b', 3, NULL, '[]', '{\"n\":1}', 'ä'),
               (2, 'a', 0, NULL, '[]', '{}', 'dropped')",
        ],
    )
    .await;
    let (collections, _) = f.truth.collections().await.unwrap();
    let sizes: Vec<_> = collections.iter().map(|c| (c.documents, c.bytes)).collect();
    assert_eq!(sizes, [(2, (2 + 3) + (7 + 2)), (0, 0)]);
    f.put_one("b", "text").await;
    let (docs, _) = f.truth.collection(&f.docs).await.unwrap();
    assert_eq!(docs.unwrap().bytes, (2 + 3) + (2 + 4));
}
