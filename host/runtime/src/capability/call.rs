//! One call into a guest: whose it is, and the budget and the deadline that its host calls share.
//!
//! Out of scope: what each capability knows about the call, which is in its own context.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;

use crate::request::RequestId;

/// What a host call holds while it is open, in addition to what it is passed: its task and its place
/// in queues.
const HOST_CALL_BYTES: usize = 4 << 10;
/// The most host calls of one request that run or wait.
const MAX_OPEN_HOST_CALLS: usize = 1_024;

/// A call's request, budget and deadline.
pub struct Call {
    /// The id of the request that the run is for, or of the one that leads it if several follow.
    pub request_id: RequestId,
    /// When the call must have ended, with all of its host calls.
    pub deadline: Instant,
    /// The runtime of host calls that wait, which is not that of the guests.
    pub io: Handle,
    /// Limits how many host calls run at once.
    pub host_calls: Arc<Semaphore>,
    /// How many host calls run or wait.
    pub open_host_calls: AtomicUsize,
    /// Bytes that the guest may still pass to the host or have it keep.
    pub bytes_left: AtomicUsize,
    /// The largest body of an answer.
    pub max_answer_bytes: usize,
    /// Set when the guest has read a clock or random numbers.
    pub untracked: AtomicBool,
    /// Set when a host call was unavailable, timed out or failed: an answer that is made in spite
    /// of that is not what would be made otherwise.
    pub degraded: AtomicBool,
}

impl Call {
    /// Takes `bytes` from the call's budget. `false` if it has fewer left; nothing is taken then.
    #[must_use]
    pub fn spend(&self, bytes: usize) -> bool {
        self.bytes_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes))
            .is_ok()
    }

    /// Opens a host call, which takes a few KiB of the budget until it is dropped. `None` if too
    /// many are open, or too few bytes are left.
    #[must_use]
    pub fn open_host_call(self: &Arc<Self>) -> Option<OpenHostCall> {
        let may = |open: usize| (open < MAX_OPEN_HOST_CALLS).then_some(open + 1);
        let open = &self.open_host_calls;
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may).ok()?;
        if self.spend(HOST_CALL_BYTES) {
            return Some(OpenHostCall(Arc::clone(self)));
        }
        open.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Notes that a host call was unavailable, timed out or failed.
    pub fn note_failure(&self) {
        self.degraded.store(true, Ordering::Relaxed);
    }
}

/// A host call that runs or waits, until it is dropped.
pub struct OpenHostCall(Arc<Call>);

impl Drop for OpenHostCall {
    fn drop(&mut self) {
        self.0.bytes_left.fetch_add(HOST_CALL_BYTES, Ordering::Relaxed);
        self.0.open_host_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The part of a store that a capability's host functions see: the capability's own context `C`,
/// the call, and the values behind the guest's handles.
pub struct View<'a, C> {
    /// What the capability knows about this call.
    pub context: &'a Arc<C>,
    /// The call.
    pub call: &'a Arc<Call>,
    /// The values behind handles.
    pub table: &'a mut ResourceTable,
}
