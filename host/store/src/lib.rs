//! Weir's stores of record: the *truth* of each tenant and the *system store* of the server.
//!
//! A [`Truth`] keeps collections and documents, gives each commit its position, and keeps the
//! log of changes that everything else is derived from. The [`SystemStore`] keeps what belongs
//! to the server and to no tenant. [`DataFolder`] is where the embedded engines keep their
//! files, held by one process at a time; [`open_truth`] and [`open_system`] open them. No type
//! of an engine leaves this crate.
//!
//! Out of scope: what is derived from the truth (`weir-search`), and the cache.

use std::path::Path;
use std::sync::Arc;

mod change;
mod data_folder;
mod document;
mod error;
mod sqlite;
mod system;
mod truth;

pub use change::{Change, ChangeKind};
pub use data_folder::DataFolder;
pub use document::{
    ChunkRef, Collection, Committed, Document, HitText, IdempotencyKey, NewDocument, chunk_text,
};
pub use error::{BoxError, TruthError};
pub use system::SystemStore;
pub use truth::{CommitObserver, Truth};

/// Opens the embedded truth in `folder`, a tenant's folder of the data folder; creates it or
/// brings its schema up to date where needed.
///
/// # Errors
/// The file cannot be written, is damaged, or is from a newer Weir.
pub async fn open_truth(folder: &Path) -> Result<Arc<dyn Truth>, TruthError> {
    Ok(Arc::new(sqlite::SqliteTruth::open(folder).await?))
}

/// Opens the embedded system store in `folder`, the data folder itself; creates it or brings
/// its schema up to date where needed.
///
/// # Errors
/// The file cannot be written, is damaged, or is from a newer Weir.
pub async fn open_system(folder: &Path) -> Result<Arc<dyn SystemStore>, TruthError> {
    Ok(Arc::new(sqlite::SqliteSystem::open(folder).await?))
}
