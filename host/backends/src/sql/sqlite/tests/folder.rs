//! The data folder: reopened, locked, not writable; and how the file is written.

use std::path::Path;

use super::*;

#[tokio::test]
async fn what_was_committed_is_there_when_it_is_opened_again() {
    let Fixture { truth, docs, folder } = Fixture::new().await;
    let key = IdempotencyKey { key: "k".into(), fingerprint: [1; 32] };
    let put = truth.put(&docs, vec![document("a", "text")], Some(key.clone())).await.unwrap();
    drop(truth);
    let truth = SqliteTruth::open(folder.path()).await.unwrap();
    let f = Fixture { truth, docs, folder };
    assert_eq!(*f.truth.committed().borrow(), put.position);
    assert_eq!(f.text("a").await.as_deref(), Some("text"));
    assert_eq!(f.log(0, 10).await, ["1 docs created", "2 docs +a"]);
    let replayed = Committed { replayed: true, ..put };
    assert_eq!(f.truth.replay(&key).await.unwrap(), Some(replayed));
    assert_eq!(f.put_one("a", "other text").await, Position(3), "positions go on");
}

#[tokio::test]
async fn a_locked_folder_is_refused_by_name() {
    let f = Fixture::new().await;
    let error = SqliteTruth::open(f.folder.path()).await.unwrap_err();
    let (folder, pid) = (f.folder.path().display(), std::process::id());
    let expected = format!("the data folder {folder} is in use by process {pid}");
    assert_eq!(error.to_string(), expected);

    f.truth.close().await;
    let closed = f.put(vec![document("a", "text")]).await;
    assert!(matches!(closed, Err(SqlError::Failed(sqlx::Error::PoolClosed))));
    drop(f.truth);
    SqliteTruth::open(f.folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_refused_with_the_reason() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    std::fs::write(&file, "a file").unwrap();
    let in_the_way = temporary.path().join("in-the-way");
    std::fs::create_dir_all(in_the_way.join("tenants/default/truth.sqlite")).unwrap();
    let cases = [
        (file.as_path(), "File exists"),
        (&file.join("below"), "Not a directory"),
        (&in_the_way, "Is a directory"),
        (Path::new("/proc/weir"), "No such file or directory"),
    ];
    for (folder, expected) in cases {
        let error = SqliteTruth::open(folder).await.unwrap_err();
        let SqlError::ReadOnly { path, reason } = &error else { panic!("{error}") };
        assert!(path.starts_with(&folder.display().to_string()), "{error}");
        assert!(reason.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants/default/truth.sqlite");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "not a database".repeat(1_000)).unwrap();
    let error = SqliteTruth::open(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("file is not a database"), "{error}");
}

#[tokio::test]
async fn commits_are_flushed_to_the_disk() {
    let f = Fixture::new().await;
    let pragma = async |name: &'static str| -> String {
        sqlx::query_scalar(name).fetch_one(&f.truth.writer).await.unwrap()
    };
    assert_eq!(pragma("SELECT journal_mode FROM pragma_journal_mode").await, "wal");
    let number = async |name: &'static str| -> i64 {
        sqlx::query_scalar(name).fetch_one(&f.truth.writer).await.unwrap()
    };
    assert_eq!(number("PRAGMA synchronous").await, 2, "FULL");
    assert_eq!(number("PRAGMA foreign_keys").await, 1);
    let write = sqlx::query("DELETE FROM documents").execute(&f.truth.readers).await;
    assert!(write.is_err(), "readers cannot write");
}
