//! A store of envelopes in a file on this node's disk, with redb.
//!
//! [`tables`] has what is in the file, and what goes when it has reached its size.
//!
//! Why redb: one entry is removed as easily as another, by size or by ttl, from a file that takes at most about
//! twice its limit, is locked, is durable within a second, and knows what is in it. foyer is faster while much is
//! written, needs less memory, and takes exactly its limit. But it has no ttl, keeps fewer entries under the same
//! limit, drops writes silently when they come faster than it writes, and does not lock its folder. An LSM tree
//! (fjall) keeps what was removed until it is compacted, so it takes two to four times its limit, and lets
//! writers sleep when compactions are late. Its compaction that drops the oldest files has one ttl for all.
//! "Stores on disk" in `docs/benchmarks.md` has the figures.
//!
//! The file is a cache: whatever is wrong with it, it is deleted, and begins again empty. A crash
//! loses what was written within the last second.
//!
//! redb reads and writes block, so they run on tokio's blocking threads, a bounded number of them.
//! Out of scope: what the envelopes are, and whether they are still true.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard, RwLock};
use redb::{Database, DatabaseError, Durability, ReadableDatabase as _};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{Contents, Envelope, EnvelopeStore, StoreError};
use crate::CacheKey;
use crate::entry::whole_ms;

mod tables;
#[cfg(test)]
mod tests;

/// The name of the file within its folder.
pub const FILE: &str = "cache.redb";

/// How often what was written is made durable.
const DURABLE_EVERY: Duration = Duration::from_secs(1);
/// The most calls that read at once. Others wait, as long as their callers do.
const READS_AT_ONCE: usize = 16;
/// How long nothing is tried after the file could not be written.
const PAUSE: Duration = Duration::from_secs(10);

/// What the file may take.
#[derive(Clone, Copy, Debug)]
pub struct DiskLimits {
    /// The size of the envelopes in pages. Free pages come on top: the file can be twice as large.
    pub max_bytes: u64,
    /// The memory for pages of the file.
    pub page_cache_bytes: usize,
}

/// A store of envelopes in one file.
pub struct DiskStore {
    file: Arc<File>,
    reads: Arc<Semaphore>,
}

struct File {
    path: PathBuf,
    limits: DiskLimits,
    /// `None` after it could not be written, until it is begun again.
    database: RwLock<Option<Database>>,
    written: Mutex<Written>,
    /// What is in the file.
    contents: Mutex<Contents>,
}

/// What the writer remembers.
struct Written {
    durable_at: Instant,
    /// Whether everything is.
    is_durable: bool,
    /// Nothing is tried before.
    pause_until: Instant,
}

impl DiskStore {
    /// Opens the file in `folder`, or creates it. Blocks. If that fails, for example because the disk is
    /// full, it is tried again with later writes, and nothing is found until then.
    #[must_use]
    pub fn open(folder: &Path, limits: DiskLimits) -> Self {
        let now = Instant::now();
        let written = Written { durable_at: now, is_durable: true, pause_until: now };
        let file = File {
            path: folder.join(FILE),
            limits,
            database: RwLock::new(None),
            written: Mutex::new(written),
            contents: Mutex::default(),
        };
        if let Err(error) = file.begin_again(&mut file.written.lock()) {
            warn!(%error, "the shared tier's file cannot be opened; it will be tried again");
        }
        Self { file: Arc::new(file), reads: Arc::new(Semaphore::new(READS_AT_ONCE)) }
    }
}

#[async_trait]
impl EnvelopeStore for DiskStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get_all(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn get_all(&self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let (file, keys) = (Arc::clone(&self.file), keys.to_vec());
        let turn = Arc::clone(&self.reads).acquire_owned().await;
        // The turn is given back when the disk has answered, also if nobody waits any more.
        let read = spawn_blocking(move || {
            let read = file.get(&keys);
            drop(turn);
            read
        });
        read.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    async fn put(&self, envelopes: Vec<Envelope>) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || file.put(&envelopes));
        written.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let file = Arc::clone(&self.file);
        let flushed = spawn_blocking(move || file.flush());
        flushed.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())))
    }

    fn contents(&self) -> Option<Contents> {
        Some(*self.file.contents.lock())
    }

    async fn close(&self) {
        let file = Arc::clone(&self.file);
        let closed = spawn_blocking(move || {
            if let Err(error) = file.flush() {
                warn!(%error, "the shared tier's file was not closed");
            }
            drop(file.database.write().take());
        });
        let _ = closed.await;
    }
}

impl File {
    fn get(&self, keys: &[CacheKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| unavailable(&self.path, "is not open"))?;
        let read = || -> Result<_, redb::Error> { tables::read(&database.begin_read()?, keys) };
        read().map_err(|error| unavailable(&self.path, &error))
    }

    /// The right to write. Refused while the disk has not answered the write before: what waited for a
    /// stuck disk would pile up.
    fn writer(&self) -> Result<MutexGuard<'_, Written>, StoreError> {
        let free = self.written.try_lock();
        free.ok_or_else(|| unavailable(&self.path, "is still being written"))
    }

    /// Makes durable what is not.
    fn flush(&self) -> Result<(), StoreError> {
        let due = !self.writer()?.is_durable;
        if due { self.put_with(&[], Durability::Immediate) } else { Ok(()) }
    }

    fn put(&self, envelopes: &[Envelope]) -> Result<(), StoreError> {
        let durable_at = self.writer()?.durable_at;
        let durability = match durable_at.elapsed() >= DURABLE_EVERY {
            true => Durability::Immediate,
            false => Durability::None,
        };
        self.put_with(envelopes, durability)
    }

    /// Writes envelopes. After a failure, the file begins again empty, and nothing is tried for a
    /// while: the disk is full, or broken.
    fn put_with(&self, envelopes: &[Envelope], durability: Durability) -> Result<(), StoreError> {
        let now = Instant::now();
        let mut written = self.writer()?;
        if now < written.pause_until {
            return Err(unavailable(&self.path, "could not be written a short time ago"));
        }
        if self.database.read().is_none() {
            self.begin_again(&mut written)?;
        }
        match self.write(envelopes, durability) {
            Ok(()) => {
                written.is_durable = matches!(durability, Durability::Immediate);
                if written.is_durable {
                    written.durable_at = now;
                }
                Ok(())
            }
            Err(error) => {
                let error = unavailable(&self.path, &error);
                warn!(%error, "the shared tier's file is deleted and begins again");
                drop(self.database.write().take());
                let _ = std::fs::remove_file(&self.path);
                *self.contents.lock() = Contents::default();
                written.is_durable = true;
                written.pause_until = now + PAUSE;
                Err(error)
            }
        }
    }

    fn begin_again(&self, written: &mut Written) -> Result<(), StoreError> {
        match open(&self.path, &self.limits) {
            Ok(database) => {
                let counted = || tables::contents(&database.begin_read()?);
                // Where it cannot be read, the next write says it.
                *self.contents.lock() = counted().unwrap_or_default();
                *self.database.write() = Some(database);
                Ok(())
            }
            Err(error) => {
                written.pause_until = Instant::now() + PAUSE;
                Err(unavailable(&self.path, &error))
            }
        }
    }

    fn write(&self, envelopes: &[Envelope], durability: Durability) -> Result<(), redb::Error> {
        let database = self.database.read();
        let Some(database) = database.as_ref() else { return Ok(()) };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(durability)?;
        if matches!(durability, Durability::Immediate) {
            // A start after a crash then does not read the whole file.
            transaction.set_quick_repair(true);
        }
        let now_ms = unix_ms();
        let contents = tables::write(&transaction, envelopes, now_ms, self.limits.max_bytes)?;
        transaction.commit()?;
        *self.contents.lock() = contents;
        Ok(())
    }
}

/// Opens the file, or begins it again if it is damaged or of another release's format.
fn open(path: &Path, limits: &DiskLimits) -> Result<Database, DatabaseError> {
    let create = || Database::builder().set_cache_size(limits.page_cache_bytes).create(path);
    match create() {
        Err(DatabaseError::DatabaseAlreadyOpen) => Err(DatabaseError::DatabaseAlreadyOpen),
        Err(error) if path.is_file() => {
            let file = path.display();
            warn!(%file, %error, "the shared tier's file cannot be used: it is deleted and begins again");
            // What is wrong with it may also be that it cannot be deleted: then creating it says so.
            let _ = std::fs::remove_file(path);
            create()
        }
        opened => opened,
    }
}

fn unavailable(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, whole_ms)
}
