//! The stores that are measured, each as an [`EnvelopeStore`], which is what Weir asks of one.
//!
//! All of them get the same room for pages in memory. What they store is not compressed once more.

mod fjall_fifo;
mod fjall_tables;
mod foyer;

use std::fmt::{self, Display};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tokio::task::spawn_blocking;
use weir_cache::tier::disk::{DiskLimits, DiskStore};
use weir_cache::tier::{EnvelopeStore, StoreError};

use self::fjall_fifo::FjallFifo;
use self::fjall_tables::FjallTables;
use self::foyer::{Foyer, Puts};

/// The memory for pages of files: Weir's default.
const PAGE_CACHE_BYTES: usize = 32 << 20;
/// How often what was written is made durable, as Weir's store does. foyer has no call for it.
const DURABLE_EVERY: Duration = Duration::from_secs(1);

/// A store that can be measured.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Kind {
    /// What Weir ships
    Redb,
    /// fjall with the tables that Weir's store has, and envelopes as blobs
    FjallTables,
    /// fjall with envelopes by sequence, which its FIFO compaction drops, and a table from key to sequence
    FjallFifo,
    /// foyer's block engine, which is told and not waited for
    Foyer,
    /// foyer's block engine, with each batch waited for until it is in the file
    FoyerWaiting,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Redb, Self::FjallTables, Self::FjallFifo, Self::Foyer, Self::FoyerWaiting];
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redb => "redb",
            Self::FjallTables => "fjall-tables",
            Self::FjallFifo => "fjall-fifo",
            Self::Foyer => "foyer",
            Self::FoyerWaiting => "foyer-waiting",
        })
    }
}

/// Opens an empty store in a folder.
pub(crate) async fn open(
    kind: Kind,
    folder: &Path,
    limit_bytes: u64,
) -> Result<Arc<dyn EnvelopeStore>> {
    Ok(match kind {
        Kind::Redb => {
            let limits = DiskLimits { max_bytes: limit_bytes, page_cache_bytes: PAGE_CACHE_BYTES };
            Arc::new(DiskStore::open(folder, limits))
        }
        Kind::FjallTables => Arc::new(FjallTables::open(folder, limit_bytes)?),
        Kind::FjallFifo => Arc::new(FjallFifo::open(folder, limit_bytes)?),
        Kind::Foyer => Arc::new(Foyer::open(folder, limit_bytes, Puts::Told).await?),
        Kind::FoyerWaiting => Arc::new(Foyer::open(folder, limit_bytes, Puts::Waited).await?),
    })
}

/// Runs what blocks on the threads for it, as Weir's store does.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> fjall::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = spawn_blocking(move || work().map_err(unavailable)).await;
    done.unwrap_or_else(|error| Err(unavailable(error)))
}

fn unavailable(error: impl Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The time at which a ttl is over, in milliseconds since 1970.
fn expiry_ms(ttl: Duration) -> u64 {
    unix_ms().saturating_add(ttl.as_millis() as u64)
}

/// The number in the first eight bytes, and the rest.
fn split_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}
