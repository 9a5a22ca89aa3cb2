//! Weir's stores of record: the *truth* of each tenant and the *system store* of the server.
//!
//! A [`Truth`] stores collections and documents, gives each commit its position, and keeps the
//! log of changes that everything else is derived from. The [`SystemStore`] keeps what belongs
//! to the server rather than to a tenant: uploaded plugins, deployments, the audit log. A
//! [`DataFolder`] is the folder that holds the embedded engines' files and those of [`plugins`];
//! one process at a time can use it. [`open_truth`], [`memory_truth`] and [`open_system`] open the engines. No
//! engine-specific type leaves this crate.
//!
//! Out of scope: what is derived from the truth (`weir-search`), and the cache.

use std::path::Path;
use std::sync::Arc;

mod change;
mod data_folder;
mod document;
mod error;
pub mod plugins;
mod quota;
mod sqlite;
pub mod system;
mod truth;

pub use change::{
    Change, ChangeKind, Invalidation, Invalidations, KeptStatistics, LastChanges, News, Past,
};
pub use data_folder::DataFolder;
pub use document::{
    Collection, Committed, Document, IdempotencyKey, Model, NewDocument, SetAside, SetAsides,
    chunk_text,
};
pub use error::{BoxError, TruthError};
pub use quota::{Quantity, Quota};
pub use system::SystemStore;
pub use truth::{Truth, TruthId, TruthSecret};

/// What a truth refuses to store more of.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Writes are refused while the [backlog](Truth::backlog_bytes) is larger.
    pub max_backlog_bytes: u64,
    /// What its tenant may have.
    pub quota: Quota,
}

/// Opens the embedded truth in `folder`, which is the tenant's folder within the data folder.
/// Creates the truth or migrates its schema if needed. What is there already may exceed `limits`.
///
/// # Errors
/// The file cannot be written, is damaged, or is from a newer Weir.
pub async fn open_truth(folder: &Path, limits: Limits) -> Result<Arc<dyn Truth>, TruthError> {
    Ok(Arc::new(sqlite::SqliteTruth::open(folder, limits).await?))
}

/// An empty truth in memory, which is gone when it is closed.
///
/// # Errors
/// SQLite refuses.
pub async fn memory_truth(limits: Limits) -> Result<Arc<dyn Truth>, TruthError> {
    Ok(Arc::new(sqlite::SqliteTruth::in_memory(limits).await?))
}

/// Opens the embedded system store in `folder`, which is the data folder itself. Creates the
/// store or migrates its schema if needed.
///
/// # Errors
/// The file cannot be written, is damaged, or is from a newer Weir.
pub async fn open_system(folder: &Path) -> Result<Arc<dyn SystemStore>, TruthError> {
    Ok(Arc::new(sqlite::SqliteSystem::open(folder).await?))
}
