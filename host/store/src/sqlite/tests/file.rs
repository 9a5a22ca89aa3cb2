//! The file: reopened, not writable, or damaged, and how it is written.

use super::*;
use crate::sqlite::READERS;

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let Fixture { truth, docs, folder } = Fixture::new().await;
    let key = IdempotencyKey { key: "k".into(), fingerprint: [1; 32] };
    let put = truth.put(&docs, vec![document("a", "text")], Some(key.clone())).await.unwrap();
    drop(truth);
    let truth = SqliteTruth::open(folder.path(), LIMITS).await.unwrap();
    let f = Fixture { truth, docs, folder };
    assert_eq!(*f.truth.committed().borrow(), put.commit);
    assert_eq!(f.text("a").await.as_deref(), Some("text"));
    assert_eq!(f.log(0, 10).await, ["1 created", "2 +a", "2 rolled"]);
    let replayed = Committed { replayed: true, ..put };
    assert_eq!(f.truth.replay(&key).await.unwrap(), Some(replayed));
    assert_eq!(f.put_one("a", "other text").await, Position(3), "positions continue");
}

#[tokio::test]
async fn a_closed_truth_fails() {
    let f = Fixture::new().await;
    f.truth.close().await;
    let error = f.put(vec![document("a", "text")]).await.unwrap_err();
    let TruthError::Failed(cause) = error else { panic!("{error}") };
    assert!(matches!(cause.downcast_ref(), Some(sqlx::Error::PoolClosed)));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("truth.sqlite")).unwrap();
    let error = SqliteTruth::open(folder.path(), LIMITS).await.unwrap_err();
    let TruthError::ReadOnly { path, reason } = &error else { panic!("{error}") };
    assert!(path.ends_with("truth.sqlite") && reason.contains("Is a directory"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("truth.sqlite");
    std::fs::write(file, "not a database".repeat(1_000)).unwrap();
    let error = SqliteTruth::open(folder.path(), LIMITS).await.unwrap_err().to_string();
    assert!(error.contains("file is not a database"), "{error}");
}

#[tokio::test]
async fn commits_are_flushed_to_the_disk() {
    let f = Fixture::new().await;
    let pragma = async |name: &'static str| -> String {
        sqlx::query_scalar(name).fetch_one(&f.truth.shared.writer).await.unwrap()
    };
    assert_eq!(pragma("SELECT journal_mode FROM pragma_journal_mode").await, "wal");
    let number = async |name: &'static str| -> i64 {
        sqlx::query_scalar(name).fetch_one(&f.truth.shared.writer).await.unwrap()
    };
    assert_eq!(number("PRAGMA synchronous").await, 2, "FULL");
    assert_eq!(number("PRAGMA foreign_keys").await, 1);
    let write = sqlx::query("DELETE FROM documents").execute(&f.truth.shared.readers).await;
    assert!(write.is_err(), "readers cannot write");
}

#[tokio::test]
async fn a_transaction_that_sqlite_has_ended_itself_breaks_no_later_one() {
    for is_write in [true, false] {
        let f = Fixture::new().await;
        let pool = if is_write { &f.truth.shared.writer } else { &f.truth.shared.readers };
        // As after a failure of the disk: sqlx cannot roll it back.
        let mut transaction = pool.begin().await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut *transaction).await.unwrap();
        drop(transaction);
        for number in 2..6 {
            let position = f.put_one("a", &format!("text {number}")).await;
            assert_eq!(position, Position(number));
            for _ in 0..READERS {
                let log = f.log(number - 1, 10).await;
                assert_eq!(log, [format!("{number} +a"), format!("{number} rolled")]);
            }
        }
    }
}
