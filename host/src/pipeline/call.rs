//! What one running guest holds: its request, its deadline, what it has read so far, and
//! the services that it may reach.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use weir_backends::Position;
use weir_backends::embedding::Embedder;
use weir_backends::name::Name;
use weir_backends::sql::sqlite::SqliteTruth;
use weir_backends::vector::VectorStore;
use weir_cache::tag::{Tag, TagTable};

use super::request::{KeyedRequest, PartsRead};
use crate::documents::DocumentService;
use crate::engine::limits::MemoryBudget;

/// What capabilities are made of, shared by all guests.
pub struct Services {
    /// Texts to vectors.
    pub embedder: Arc<dyn Embedder>,
    /// Searches.
    pub vectors: Arc<dyn VectorStore>,
    /// Texts and metadata of hits.
    pub truth: Arc<SqliteTruth>,
    /// Writes of documents.
    pub documents: Arc<DocumentService>,
    /// The last positions of tags.
    pub tags: Arc<TagTable>,
    /// Where host calls run: never on the guests' threads.
    pub io: Handle,
}

/// One call into a guest, as its host calls share it.
pub struct Call {
    /// The pipeline's name.
    pub pipeline: Name,
    /// The pipeline's settings.
    pub settings: Arc<BTreeMap<String, String>>,
    /// The request.
    pub request: Arc<KeyedRequest>,
    /// When all of it must have ended: CPU, wall and host calls.
    pub deadline: Instant,
    /// What it may reach.
    pub services: Arc<Services>,
    /// Host calls at once.
    pub host_calls: Arc<Semaphore>,
    /// Bytes that the guest may still hand to the host.
    pub bytes_left: AtomicUsize,
    /// The position that the answer will be exact at: noted before the first read.
    pub as_of: Position,
    /// The position of its last write; 0 while it has not written.
    pub wrote_at: AtomicU64,
    /// The parts of the request read so far.
    pub parts: Mutex<PartsRead>,
    /// The collections read so far, found or not.
    pub collections: Mutex<BTreeSet<Name>>,
    /// Set when a clock or random numbers were read.
    pub untracked: Arc<AtomicBool>,
}

impl Call {
    /// Takes `bytes` from the call's budget; `false` when it is spent.
    pub fn spend(&self, bytes: usize) -> bool {
        self.bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    /// Notes a write, and gives its position back.
    pub fn wrote(&self, position: Position) -> Position {
        self.wrote_at.fetch_max(position.0, Ordering::Relaxed);
        position
    }

    /// What the answer's `Weir-Position` is: what it is exact at, or the answer to a write
    /// has the position of that write.
    pub fn position(&self) -> Position {
        self.as_of.max(Position(self.wrote_at.load(Ordering::Relaxed)))
    }

    /// The collections that were read, each once.
    pub fn collections_read(&self) -> Vec<Name> {
        self.collections.lock().iter().cloned().collect()
    }

    /// The tags of all that was read.
    pub fn tags(&self) -> Vec<Tag> {
        self.collections.lock().iter().map(crate::documents::collection_tag).collect()
    }

    /// The parts of the request that were read, and whether anything untracked was.
    pub fn parts_read(&self) -> PartsRead {
        let mut parts = self.parts.lock().clone();
        parts.untracked = self.untracked.load(Ordering::Relaxed);
        parts
    }
}

/// The data of a store.
pub struct GuestState {
    /// The memory that it may use.
    pub budget: MemoryBudget,
    /// Its resources.
    pub table: ResourceTable,
    /// The call that the store was made for.
    pub call: Arc<Call>,
    /// WASI without anything granted; made only for a component that imports it.
    pub wasi: Option<Box<WasiCtx>>,
}

/// The view of a [`GuestState`] that the capabilities implement their interfaces on.
pub struct Guest;

impl HasData for Guest {
    type Data<'a> = &'a mut GuestState;
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let untracked = &self.call.untracked;
        let wasi = self.wasi.get_or_insert_with(|| crate::capability::wasi::nothing(untracked));
        WasiCtxView { ctx: wasi, table: &mut self.table }
    }
}
