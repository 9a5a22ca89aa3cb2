//! What remains after a restart, a failed write, a cancelled write, and damage.

use futures::FutureExt;
use sqlx::{Connection, SqliteConnection};

use super::*;

/// A store with a document `a` in `c` at position 1, complete up to 1.
async fn filled(folder: &Path) -> ExactStore {
    let store = open(folder).await;
    store.apply(page(1, vec![put_text("a", 1, "wing")])).await.unwrap();
    store.complete(commit(1)).await.unwrap();
    store
}

fn is_empty(store: &ExactStore) -> bool {
    store.stored().is_empty() && store.completed() == Commit::ZERO
}

async fn execute(folder: &Path, statement: &'static str) {
    let url = format!("sqlite://{}", folder.join("vectors.sqlite").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_restart_changes_no_score_and_continues_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let in_memory = ExactStore::in_memory(DIMENSIONS);
    let base: Vec<_> = (0..110).map(|n| put_text(&format!("b{n}"), 1, "wing flap")).collect();
    open(folder.path()).await.apply(page(1, base.clone())).await.unwrap();
    in_memory.apply(page(1, base)).await.unwrap();
    for n in 2..=20 {
        let changes = vec![put_text(&format!("n{n}"), n, "wing tail tail"), delete("b7")];
        let epoch = if n == 10 { Epoch::Rolled } else { Epoch::Kept };
        let page = IndexPage { epoch, ..page(n, changes) };
        open(folder.path()).await.apply(page.clone()).await.unwrap();
        in_memory.apply(page).await.unwrap();
        let reopened = open(folder.path()).await;
        let found = hits(&reopened, words("wing tail")).await;
        assert_eq!(found, hits(&in_memory, words("wing tail")).await, "after {n}");
        assert_eq!(last(&reopened), Some(commit(n)));
    }
}

#[tokio::test]
async fn completion_is_kept_and_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for (asked, expected) in [(3, 3), (7, 7), (5, 7), (7, 7)] {
        store.complete(commit(asked)).await.unwrap();
        assert_eq!(store.completed(), commit(expected), "after {asked}");
    }
    drop(store);
    assert_eq!(open(folder.path()).await.completed(), commit(7));
}

#[tokio::test]
async fn a_dropped_collection_is_remembered_until_completion_has_passed_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path()).await;
    store.apply(gone(5)).await.unwrap();
    for (completed, remembered) in [(4, Some(commit(5))), (5, None), (9, None)] {
        store.complete(commit(completed)).await.unwrap();
        assert_eq!((last(&store), current(&store).is_some()), (remembered, false), "{completed}");
        drop(store);
        store = open(folder.path()).await;
        assert_eq!((last(&store), current(&store).is_some()), (remembered, false), "{completed}");
    }
    // A collection that exists stays, however long ago it changed.
    store.apply(page(10, vec![])).await.unwrap();
    store.complete(commit(1_000)).await.unwrap();
    drop(store);
    assert!(current(&open(folder.path()).await).is_some());
}

#[tokio::test]
async fn clearing_removes_everything() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    store.clear().await.unwrap();
    assert!(is_empty(&store));
    drop(store);
    let store = open(folder.path()).await;
    assert!(is_empty(&store));
    store.apply(page(1, vec![put_text("b", 1, "wing")])).await.unwrap();
    drop(store);
    let found = hits(&open(folder.path()).await, words("wing")).await;
    assert_eq!(found.iter().map(|hit| hit.document.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn an_index_made_with_something_else_starts_over() {
    let cases = [
        ("truth", "model", DIMENSIONS, false),
        ("another truth", "model", DIMENSIONS, true),
        ("truth", "another model", DIMENSIONS, true),
        ("truth", "model", DIMENSIONS + 1, true),
    ];
    for (truth, digest, dimensions, starts_over) in cases {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        let store = ExactStore::open(folder.path(), truth, digest, dimensions).await.unwrap();
        assert_eq!(is_empty(&store), starts_over, "{truth}, {digest}, {dimensions}");
        assert!(!folder.path().join("vectors.sqlite.damaged").exists());
    }
}

#[tokio::test]
async fn the_next_models_index_takes_the_place_of_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    drop(filled(path).await);
    let next = || ExactStore::open_next(path, "truth", "next", DIMENSIONS);
    let store = next().await.unwrap();
    store.apply(page(1, vec![put_text("a", 1, "wing")])).await.unwrap();
    drop(store);
    // It stays a second file until its model is the truth's.
    assert!(!is_empty(&open(path).await));
    assert_eq!(last(&next().await.unwrap()), Some(commit(1)));
    let reopened = ExactStore::open(path, "truth", "next", DIMENSIONS).await.unwrap();
    assert_eq!(last(&reopened), Some(commit(1)));
    drop(reopened);
    assert!(is_empty(&open(path).await) && is_empty(&next().await.unwrap()));

    // One that cannot be read takes nobody's place.
    drop(filled(path).await);
    std::fs::write(path.join("vectors-next.sqlite"), "not a database, but long enough".repeat(99))
        .unwrap();
    assert!(!is_empty(&open(path).await));
    ExactStore::discard_next(path).unwrap();
    assert!(!path.join("vectors-next.sqlite").exists());
}

#[tokio::test]
async fn an_index_in_another_format_starts_over() {
    for change in [
        "PRAGMA user_version = 2; DROP TABLE header",
        "PRAGMA user_version = 4",
        "UPDATE header SET analysis = 'another'",
    ] {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        execute(folder.path(), change).await;
        assert!(is_empty(&open(folder.path()).await), "{change}");
        assert!(!folder.path().join("vectors.sqlite.damaged").exists());
    }
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
        assert!(is_empty(&store));
        assert!(folder.path().join("vectors.sqlite.damaged").exists());
        store.apply(page(1, vec![put_text("a", 1, "wing")])).await.unwrap();
        drop(store);
        assert_eq!(last(&open(folder.path()).await), Some(commit(1)));
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
        "UPDATE collections SET statistics = NULL",
        "UPDATE collections SET chain = -1",
        "UPDATE header SET chain = 4294967296",
        "DELETE FROM header",
        "DROP TABLE documents; CREATE TABLE documents \
         (collection, id, version, text, metadata, chunks); \
         INSERT INTO documents VALUES ('c', 'a', 'one', '', '{}', x'00')",
        "DROP TABLE documents; CREATE TABLE documents \
         (collection, id, version, text, metadata, chunks); \
         INSERT INTO documents VALUES ('c', 'a', 1, '', '{}', x'00'), ('c', 'a', 1, '', '{}', x'00')",
    ];
    for damage in damages {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path()).await);
        execute(folder.path(), damage).await;
        assert!(is_empty(&open(folder.path()).await), "{damage}");
        assert!(folder.path().join("vectors.sqlite.damaged").exists(), "{damage}");
    }
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let opened = ExactStore::open(Path::new("/nowhere/at/all"), "truth", "model", DIMENSIONS).await;
    assert!(matches!(opened, Err(VectorError::Failed(text)) if text.contains("vectors.sqlite")));
}

#[tokio::test]
async fn a_page_that_is_not_durable_is_not_searchable() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON documents WHEN NEW.id = 'b' \
                  BEGIN SELECT raise(ABORT, 'no'); END";
    execute(folder.path(), refuse).await;
    let page = page(2, vec![put_text("a", 2, "flap"), put_text("b", 2, "wing")]);
    assert!(store.apply(page.clone()).await.is_err());
    assert_eq!(last(&store), Some(commit(1)));
    assert_eq!(hits(&store, words("wing")).await.len(), 1);

    execute(folder.path(), "DROP TRIGGER refuse").await;
    store.apply(page).await.unwrap();
    drop(store);
    let found = hits(&open(folder.path()).await, words("wing")).await;
    assert_eq!(found.iter().map(|hit| hit.document.as_str()).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_page_is_applied_even_if_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path()).await;
    let cut = store.apply(page(2, vec![put_text("b", 2, "wing")])).now_or_never();
    assert!(cut.is_none(), "it was polled once and dropped");
    while last(&store) != Some(commit(2)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(hits(&store, words("wing")).await.len(), 2);
}
