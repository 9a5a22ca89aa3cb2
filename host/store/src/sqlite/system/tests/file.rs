//! The file: of an older version, not writable, damaged, or without room.

use sqlx::migrate::Migrator;

use super::*;
use crate::sqlite::system::MIGRATIONS;
use crate::sqlite::{open_writer, options};
use crate::system::AuditPage;

/// Writes a file as version 0.2 did at first, and opens it.
async fn migrated(data: &[&'static str]) -> Fixture {
    migrated_from(1, data).await
}

/// Writes a file with so many of the migrations, and opens it.
async fn migrated_from(migrations: usize, data: &[&'static str]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("system.sqlite");
    let old = open_writer(&file, options(&file).create_if_missing(true)).await.unwrap();
    let first = MIGRATIONS.iter().take(migrations).cloned().collect();
    Migrator::with_migrations(first).run(&old).await.unwrap();
    for statement in data {
        sqlx::query(*statement).execute(&old).await.unwrap();
    }
    old.close().await;
    let store = SqliteSystem::open(folder.path()).await.unwrap();
    Fixture { store, search: name("search"), folder }
}

const AT_41: &str =
    "INSERT INTO deployments (one, fingerprint, revision) VALUES (1, zeroblob(32), 41)";

#[tokio::test]
async fn the_counter_of_an_old_file_goes_on() {
    let f = migrated(&[AT_41]).await;
    assert_eq!(f.deployed().await, (Vec::new(), 41));
    assert_eq!(f.deploy("1", Expected::Absent).await.unwrap(), 42);
    let f = migrated(&[]).await;
    assert_eq!(f.deploy("1", Expected::Absent).await.unwrap(), 1);
}

#[tokio::test]
async fn lines_of_the_audit_log_from_before_there_were_tokens_stay() {
    const LINE: &str = "INSERT INTO audit (at_ms, who, action, target, outcome)
                        VALUES (1, 'admin', 'deploy', 'pipeline search', 'done')";
    let f = migrated_from(2, &[LINE]).await;
    f.store.append_audit(audited("next")).await.unwrap();
    let page = AuditPage { limit: 10, ..AuditPage::default() };
    let read = f.store.audit(page).await.unwrap();
    assert_eq!((read[0].id, &read[0].record), (2, &audited("next")));
    let AuditRecord { who, token, detail, .. } = &read[1].record;
    assert_eq!((who.as_str(), *token, detail.as_str()), ("admin", None, ""));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("system.sqlite")).unwrap();
    let Err(error) = SqliteSystem::open(folder.path()).await else { panic!("it is a folder") };
    let TruthError::ReadOnly { path, reason } = &error else { panic!("{error}") };
    assert!(path.ends_with("system.sqlite") && reason.contains("Is a directory"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("system.sqlite"), "not a database".repeat(1_000)).unwrap();
    let Err(error) = SqliteSystem::open(folder.path()).await else { panic!("it is a text") };
    assert!(error.to_string().contains("file is not a database"), "{error}");
}

#[tokio::test]
async fn a_closed_store_fails() {
    let f = Fixture::new().await;
    f.store.close().await;
    let error = f.deploy("1", Expected::Any).await.unwrap_err();
    let SystemError::Store(TruthError::Failed(cause)) = error else { panic!("{error}") };
    assert!(matches!(cause.downcast_ref(), Some(sqlx::Error::PoolClosed)));
}

#[tokio::test]
async fn without_room_a_write_fails_and_what_was_there_stays() {
    let mut f = Fixture::new().await;
    let revision = f.deploy("1", Expected::Any).await.unwrap();
    let large = "1".repeat(60 << 10);
    let before = (f.deployed().await, f.history(10).await);
    let pages = |most: u32| format!("PRAGMA max_page_count = {most}");
    for _ in 0..3 {
        // Each time: a connection whose transaction SQLite has ended is replaced.
        sqlx::query(sqlx::AssertSqlSafe(pages(1))).execute(&f.store.pool).await.unwrap();
        let error = f.deploy(&large, Expected::Any).await.unwrap_err();
        let SystemError::Store(TruthError::Failed(cause)) = error else { panic!("{error}") };
        assert!(cause.to_string().contains("full"), "{cause}");
        assert_eq!((f.deployed().await, f.history(10).await), before);
    }
    sqlx::query(sqlx::AssertSqlSafe(pages(1 << 20))).execute(&f.store.pool).await.unwrap();
    assert_eq!(f.deploy(&large, Expected::Revision(revision)).await.unwrap(), revision + 1);
    f.reopen().await;
    assert_eq!(f.current().await, Some((large, revision + 1)));
}

/// As after a failure of the disk: sqlx cannot roll it back.
#[tokio::test]
async fn a_transaction_that_sqlite_has_ended_itself_breaks_no_later_one() {
    let f = Fixture::new().await;
    let mut transaction = f.store.pool.begin().await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *transaction).await.unwrap();
    drop(transaction);
    for revision in 1..4 {
        assert_eq!(f.deploy("1", Expected::Any).await.unwrap(), revision);
        assert_eq!(f.deployed().await.1, revision);
    }
}
