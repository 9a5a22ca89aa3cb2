//! One call into a guest, as its host calls share it: what it may still use, and until when.
//!
//! Out of scope: what each capability knows of the call, which is the capability's own
//! context.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;

/// A call's budget and deadline.
pub struct Call {
    /// When all of it must have ended: CPU, wall and host calls.
    pub deadline: Instant,
    /// Where host calls run: never on the guests' threads.
    pub io: Handle,
    /// Host calls at once.
    pub host_calls: Arc<Semaphore>,
    /// Bytes that the guest may still hand to the host.
    pub bytes_left: AtomicUsize,
    /// Bytes of the answer's body.
    pub max_answer_bytes: usize,
    /// Set when a clock or random numbers were read.
    pub untracked: Arc<AtomicBool>,
}

impl Call {
    /// Takes `bytes` from the call's budget; `false` when it is spent.
    #[must_use]
    pub fn spend(&self, bytes: usize) -> bool {
        self.bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }
}

/// What a capability's host functions see of a store: the capability's own context `C`, the
/// call, and the values behind the guest's handles.
pub struct View<'a, C> {
    /// What the capability knows of this call.
    pub context: &'a Arc<C>,
    /// The call.
    pub call: &'a Arc<Call>,
    /// The values behind handles.
    pub table: &'a mut ResourceTable,
}
