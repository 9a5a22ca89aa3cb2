//! The store on real files, which are also damaged and copied.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;

use super::tables::{BY_AGE, BY_EXPIRY, BYTES, ENVELOPES, EXPIRED_AT_ONCE, NUMBERS, charged};
use super::*;

const LIMITS: DiskLimits = DiskLimits { max_bytes: 1 << 20, page_cache_bytes: 1 << 20 };
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key(number: u16) -> CacheKey {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    CacheKey::from_bytes(bytes)
}

fn envelope(number: u16, bytes: &[u8]) -> Envelope {
    Envelope { key: key(number), bytes: bytes.to_vec(), ttl: DAY }
}

fn store(folder: &Path) -> DiskStore {
    DiskStore::open(folder, LIMITS)
}

async fn found(store: &DiskStore, number: u16) -> Option<Vec<u8>> {
    store.get(&key(number)).await.unwrap()
}

/// What the file says of itself: the number of envelopes in each table, and their bytes. It is what the store
/// says without reading it.
fn sizes(store: &DiskStore) -> ([u64; 3], u64) {
    use redb::ReadableTableMetadata as _;
    let database = store.file.database.read();
    let read = database.as_ref().unwrap().begin_read().unwrap();
    let rows = [
        read.open_table(ENVELOPES).unwrap().len().unwrap(),
        read.open_table(BY_AGE).unwrap().len().unwrap(),
        read.open_table(BY_EXPIRY).unwrap().len().unwrap(),
    ];
    let bytes = read.open_table(NUMBERS).unwrap().get(BYTES).unwrap().unwrap().value();
    assert_eq!(store.contents(), Some(Contents { entries: rows[0], bytes }));
    (rows, bytes)
}

#[tokio::test]
async fn envelopes_are_found_replaced_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = store(folder.path());
    assert_eq!(found(&before, 1).await, None);
    before.put(vec![envelope(1, b"old"), envelope(2, b"other")]).await.unwrap();
    before.put(vec![envelope(1, b"new")]).await.unwrap();
    assert_eq!(found(&before, 1).await.as_deref(), Some(&b"new"[..]));
    assert_eq!(sizes(&before), ([2; 3], 2 * charged(8)));
    before.close().await;
    assert!(before.get(&key(1)).await.is_err());

    let after = store(folder.path());
    assert_eq!(found(&after, 1).await.as_deref(), Some(&b"new"[..]));
    assert_eq!(found(&after, 2).await.as_deref(), Some(&b"other"[..]));
}

#[tokio::test]
async fn several_are_read_at_once_in_the_order_of_their_keys() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let keys = [3, 2, 1, 2].map(key);
    assert_eq!(store.get_all(&keys).await.unwrap(), [const { None }; 4]);
    store.put(vec![envelope(1, b"one"), envelope(2, b"two")]).await.unwrap();
    let [one, two] = [b"one", b"two"].map(|bytes| Some(bytes.to_vec()));
    assert_eq!(store.get_all(&keys).await.unwrap(), [None, two.clone(), one, two]);
    assert!(store.get_all(&[]).await.unwrap().is_empty());
    store.close().await;
    assert!(store.get_all(&keys).await.is_err());
}

#[tokio::test]
async fn nothing_waits_for_a_write_that_the_disk_does_not_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    store.put(vec![envelope(1, b"kept")]).await.unwrap();
    let stuck = store.file.written.lock();
    for _ in 0..3 {
        let error = store.file.put(&[envelope(2, b"lost")]).unwrap_err();
        assert!(error.to_string().contains("is still being written"), "{error}");
        assert!(store.file.flush().is_err());
    }
    drop(stuck);
    assert_eq!(found(&store, 1).await.as_deref(), Some(&b"kept"[..]));
    assert_eq!(found(&store, 2).await, None);
    store.put(vec![envelope(2, b"kept")]).await.unwrap();
    assert!(found(&store, 2).await.is_some());
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let before = store(folder.path());
    before.put(vec![envelope(1, b"flushed")]).await.unwrap();
    before.flush().await.unwrap();
    before.put(vec![envelope(2, b"maybe")]).await.unwrap();
    // As a process leaves it that is killed now.
    let copy = tempfile::tempdir().unwrap();
    fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
    let after = store(copy.path());
    assert_eq!(found(&after, 1).await.as_deref(), Some(&b"flushed"[..]));
}

#[tokio::test]
async fn the_oldest_go_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let size = 7_000;
    let fit = LIMITS.max_bytes / charged(size);
    for number in 0..2 * fit as u16 {
        store.put(vec![envelope(number, &vec![1; size])]).await.unwrap();
        let (rows, bytes) = sizes(&store);
        assert!(rows.iter().all(|rows| *rows == u64::from(number + 1).min(fit)));
        assert_eq!(bytes, rows[0] * charged(size));
    }
    for number in 0..2 * fit as u16 {
        assert_eq!(found(&store, number).await.is_some(), u64::from(number) >= fit);
    }
    // One that is larger than the file may be goes at once, after everything else.
    store.put(vec![envelope(0, &vec![1; LIMITS.max_bytes as usize])]).await.unwrap();
    assert_eq!(sizes(&store), ([0; 3], 0));
}

#[tokio::test]
async fn what_is_over_goes_with_the_next_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let over = |number| Envelope { ttl: Duration::ZERO, ..envelope(number, b"over") };
    let many = 2 * EXPIRED_AT_ONCE as u16;
    store.put((0..many).map(over).collect()).await.unwrap();
    let forever = Envelope { ttl: Duration::MAX, ..envelope(many, b"stays") };
    store.put(vec![forever]).await.unwrap();
    assert_eq!(sizes(&store), ([1; 3], charged(5)));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let whole = {
        let store = store(folder.path());
        store.put(vec![envelope(1, b"lost")]).await.unwrap();
        store.close().await;
        fs::read(&file).unwrap()
    };
    let newer = {
        let mut newer = whole.clone();
        // redb's format version is in the database header.
        newer[..64].fill(0xff);
        newer
    };
    for (what, bytes) in [
        ("text", b"not a database".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("a truncated file", whole[..whole.len() / 2].to_vec()),
        ("a file that ends in its header", whole[..100].to_vec()),
        ("another format", newer),
    ] {
        fs::write(&file, &bytes).unwrap();
        let store = store(folder.path());
        assert_eq!(found(&store, 1).await, None, "{what}");
        store.put(vec![envelope(1, b"kept")]).await.unwrap();
        assert_eq!(found(&store, 1).await.as_deref(), Some(&b"kept"[..]), "{what}");
        store.close().await;
    }
    // A file that another process has open is not deleted.
    let other = store(folder.path());
    let second = store(folder.path());
    assert!(second.get(&key(1)).await.is_err());
    assert!(second.put(vec![envelope(1, b"lost")]).await.is_err());
    assert_eq!(found(&other, 1).await.as_deref(), Some(&b"kept"[..]));
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let store = store(&missing);
    let error = store.get(&key(1)).await.unwrap_err();
    assert!(error.to_string().contains("missing/cache.redb"), "{error}");
    fs::create_dir(&missing).unwrap();
    // Not before its pause is over.
    assert!(store.put(vec![envelope(1, b"lost")]).await.is_err());
    store.file.written.lock().pause_until = Instant::now();
    store.put(vec![envelope(1, b"kept")]).await.unwrap();
    assert_eq!(found(&store, 1).await.as_deref(), Some(&b"kept"[..]));
}
