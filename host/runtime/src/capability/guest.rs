//! The data of one guest's store, which has every capability's context of the call, and the linker
//! that offers a plugin exactly what it is granted.

use std::sync::Arc;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use weir_cache::reads::ReadSet;

use super::call::{Call, View};
use super::grants::{Access, Grants};
use super::{collections, documents, embedding, logging, request, settings, wasi};
use crate::engine::memory::MemoryBudget;
use crate::request::PartsRead;

/// What each capability knows about a call. Cheap to clone: the run keeps a clone to read from
/// when the store is gone.
#[derive(Clone)]
pub struct Contexts {
    /// The budget and the deadline.
    pub call: Arc<Call>,
    /// The request.
    pub request: Arc<request::Context>,
    /// Embedding.
    pub embedding: Arc<embedding::Context>,
    /// Searches.
    pub collections: Arc<collections::Context>,
    /// Writes.
    pub documents: Arc<documents::Context>,
    /// Log lines.
    pub logging: Arc<logging::Context>,
    /// Settings.
    pub settings: Arc<settings::Context>,
}

impl Contexts {
    /// What has been read so far, whether it existed or not.
    #[must_use]
    pub fn reads(&self) -> ReadSet {
        self.collections.reads()
    }

    /// The parts of the request that have been read, and whether a clock or random numbers have.
    #[must_use]
    pub fn parts_read(&self) -> PartsRead {
        let untracked = self.call.untracked.load(std::sync::atomic::Ordering::Relaxed);
        PartsRead { untracked, ..self.request.parts_read() }
    }

    /// The commits of the call's writes; empty if it has not written.
    #[must_use]
    pub fn wrote(&self) -> documents::Wrote {
        self.documents.wrote()
    }
}

/// The data of a store.
pub struct GuestState {
    /// The memory that the store may use.
    pub budget: MemoryBudget,
    /// What each capability knows about the call.
    pub contexts: Contexts,
    table: ResourceTable,
    /// WASI with nothing granted, created when the guest first calls it.
    wasi: Option<Box<WasiCtx>>,
}

impl GuestState {
    /// Creates the data of a fresh store.
    #[must_use]
    pub fn new(budget: MemoryBudget, contexts: Contexts, max_handles: usize) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(max_handles);
        Self { budget, contexts, table, wasi: None }
    }

    /// The view for the request and for bodies of answers.
    pub fn request(&mut self) -> View<'_, request::Context> {
        view(&self.contexts.request, &self.contexts.call, &mut self.table)
    }

    fn embedding(&mut self) -> View<'_, embedding::Context> {
        view(&self.contexts.embedding, &self.contexts.call, &mut self.table)
    }

    fn collections(&mut self) -> View<'_, collections::Context> {
        view(&self.contexts.collections, &self.contexts.call, &mut self.table)
    }

    fn documents(&mut self) -> View<'_, documents::Context> {
        view(&self.contexts.documents, &self.contexts.call, &mut self.table)
    }

    fn logging(&mut self) -> View<'_, logging::Context> {
        view(&self.contexts.logging, &self.contexts.call, &mut self.table)
    }

    fn settings(&mut self) -> View<'_, settings::Context> {
        view(&self.contexts.settings, &self.contexts.call, &mut self.table)
    }
}

fn view<'a, C>(
    context: &'a Arc<C>,
    call: &'a Arc<Call>,
    table: &'a mut ResourceTable,
) -> View<'a, C> {
    View { context, call, table }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let call = &self.contexts.call;
        let wasi = self.wasi.get_or_insert_with(|| wasi::nothing(call));
        WasiCtxView { ctx: wasi, table: &mut self.table }
    }
}

/// The interfaces of types, which every plugin may import: they give access to nothing.
const TYPES: [&str; 4] =
    ["weir:pipeline/types", "weir:embedding/types", "weir:vector/types", "weir:documents/types"];

/// Whether `interface`, a name without a version, is linked for every plugin.
#[must_use]
pub fn is_types(interface: &str) -> bool {
    TYPES.contains(&interface)
}

/// Creates a linker with the types, what is granted and, if `with_wasi`, WASI with nothing granted.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link(
    engine: &wasmtime::Engine,
    grants: &Grants,
    with_wasi: bool,
) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    request::link(&mut linker, GuestState::request)?;
    embedding::link_types(&mut linker, GuestState::embedding)?;
    collections::link_types(&mut linker, GuestState::collections)?;
    documents::link_types(&mut linker, GuestState::documents)?;
    let granted = |interfaces: &[&str]| {
        interfaces.iter().all(|interface| grants.access(interface) == Access::Granted)
    };
    if granted(&embedding::INTERFACES) {
        embedding::link(&mut linker, GuestState::embedding)?;
    }
    if granted(&collections::INTERFACES) {
        collections::link(&mut linker, GuestState::collections)?;
    }
    if granted(&documents::INTERFACES) {
        documents::link(&mut linker, GuestState::documents)?;
    }
    if granted(&logging::INTERFACES) {
        logging::link(&mut linker, GuestState::logging)?;
    }
    if granted(&settings::INTERFACES) {
        settings::link(&mut linker, GuestState::settings)?;
    }
    if with_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    Ok(linker)
}
