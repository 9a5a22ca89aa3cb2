//! What remains after a restart, a failed write, a cancelled write, and damage.

use std::path::Path;

use futures::FutureExt;
use sqlx::{Connection, SqliteConnection};

use super::*;

async fn open(folder: &Path) -> ExactStore {
    ExactStore::open(folder, "model", DIMENSIONS).await.unwrap()
}

/// A store at position 1 with a document `a`.
async fn filled(folder: &Path) -> ExactStore {
    let store = open(folder).await;
    store.apply(vec![put_text("a", 1, "wing")], Position(1)).await.unwrap();
    store
}

#[tokio::test]
async fn a_restart_changes_no_score_and_continues_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = ExactStore::in_memory(DIMENSIONS);
    let base: Vec<_> = (0..110).map(|n| put_text(&format!("b{n}"), 1, "wing flap")).collect();
    open(folder.path()).await.apply(base.clone(), Position(1)).await.unwrap();
    in_memory.apply(base, Position(1)).await.unwrap();
    for n in 2..=20 {
        let change = || vec![put_text(&format!("n{n}"), n, "wing tail tail")];
        open(folder.path()).await.apply(change(), Position(n)).await.unwrap();
        in_memory.apply(change(), Position(n)).await.unwrap();
        let reopened = open(folder.path()).await;
        let found = hits(&reopened, words("wing tail")).await;
        assert_eq!(found, hits(&in_memory, words("wing tail")).await, "after {n}");
    }
}

#[tokio::test]
async fn an_index_made_with_another_model_starts_over() {
    for (digest, dimensions) in [("another model", DIMENSIONS), ("model", DIMENSIONS + 1)] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        let store = ExactStore::open(folder.path(), digest, dimensions).await.unwrap();
        assert_eq!(store.applied(), Position::ZERO);
        assert!(store.search(words("wing")).await.is_err());
    }
}

#[tokio::test]
async fn an_index_in_another_format_starts_over() {
    for change in ["PRAGMA user_version = 1", "UPDATE header SET analysis = 'another'"] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        execute(folder.path(), change).await;
        assert_eq!(open(folder.path()).await.applied(), Position::ZERO, "{change}");
    }
}

async fn execute(folder: &Path, statement: &'static str) {
    let url = format!("sqlite://{}", folder.join("vectors.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_recreated() {
    let no_database = |folder: &Path| {
        std::fs::write(folder.join("vectors.sqlite"), "not a database, but long enough".repeat(99))
    };
    let cut = |folder: &Path| {
        let file = std::fs::File::options().write(true).open(folder.join("vectors.sqlite"))?;
        file.set_len(file.metadata()?.len() / 2)
    };
    type Damage = dyn Fn(&Path) -> std::io::Result<()>;
    let damages: [&Damage; 2] = [&no_database, &cut];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        execute(folder.path(), "PRAGMA wal_checkpoint(TRUNCATE)").await;
        damage(folder.path()).unwrap();
        let store = open(folder.path()).await;
        assert_eq!(store.applied(), Position::ZERO);
        assert!(folder.path().join("vectors.sqlite.damaged").exists());
        store.apply(vec![put_text("a", 1, "wing")], Position(1)).await.unwrap();
        drop(store);
        assert_eq!(open(folder.path()).await.applied(), Position(1));
    }
}

#[tokio::test]
async fn damaged_rows_are_found_at_startup() {
    let damages = [
        "UPDATE documents SET chunks = x'0102'",
        "UPDATE documents SET metadata = '{'",
        "UPDATE documents SET text = ''",
        "UPDATE documents SET collection = 'nowhere'",
        "UPDATE collections SET statistics = x'ff'",
        "DELETE FROM header",
        "DROP TABLE documents; CREATE TABLE documents \
         (collection, id, version, text, metadata, chunks); \
         INSERT INTO documents VALUES ('c', 'a', 'one', '', '{}', x'00')",
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        execute(folder.path(), damage).await;
        assert_eq!(open(folder.path()).await.applied(), Position::ZERO, "{damage}");
        assert!(folder.path().join("vectors.sqlite.damaged").exists(), "{damage}");
    }
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let opened = ExactStore::open(Path::new("/nowhere/at/all"), "model", DIMENSIONS).await;
    assert!(matches!(opened, Err(VectorError::Failed(text)) if text.contains("vectors.sqlite")));
}

#[tokio::test]
async fn a_batch_that_is_not_durable_is_not_searchable() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    let refuse =
        "CREATE TRIGGER refuse BEFORE UPDATE ON header BEGIN SELECT raise(ABORT, 'no'); END";
    execute(folder.path(), refuse).await;
    let batch = || vec![put_text("a", 2, "flap"), put_text("b", 2, "wing")];
    assert!(store.apply(batch(), Position(2)).await.is_err());
    assert_eq!(store.applied(), Position(1));
    assert_eq!(hits(&store, words("wing")).await.len(), 1);

    execute(folder.path(), "DROP TRIGGER refuse").await;
    store.apply(batch(), Position(2)).await.unwrap();
    drop(store);
    let found = hits(&open(folder.path()).await, words("wing")).await;
    assert_eq!(found.iter().map(|hit| hit.document.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_batch_is_applied_even_if_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    let cut = store.apply(vec![put_text("b", 2, "wing")], Position(2)).now_or_never();
    assert!(cut.is_none(), "it was polled once and dropped");
    store.apply(vec![put_text("d", 3, "wing")], Position(3)).await.unwrap();
    assert_eq!(hits(&store, words("wing")).await.len(), 3);
}
