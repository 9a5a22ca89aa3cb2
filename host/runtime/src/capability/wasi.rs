//! WASI for components whose toolchain imports it. It is linked with nothing granted: no files,
//! sockets, arguments or environment, and output is discarded. The clocks stand still at the
//! guest's first call of WASI. An answer is not stored if the guest reads a clock or random
//! numbers. Importing them does not matter, because toolchains import more than the code uses.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand_core::{Rng, TryRng};
use tracing::debug;
use wasmtime_wasi::random::thread_rng;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

use super::call::Call;

/// The most bytes of random numbers in one call.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// Creates the context of one call's store. Reading a clock or random numbers makes the call
/// `untracked`.
#[must_use]
pub fn nothing(call: &Arc<Call>) -> Box<WasiCtx> {
    let clock = FrozenClock {
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        call: Arc::clone(call),
    };
    let mut wasi = WasiCtx::builder();
    wasi.wall_clock(clock.clone())
        .monotonic_clock(clock)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .secure_random(NotingRng::new(call))
        .insecure_random(NotingRng::new(call))
        // The same for every request: it seeds hash tables, and must not influence an answer.
        .insecure_random_seed(0)
        .max_random_size(MAX_RANDOM_BYTES);
    Box::new(wasi.build())
}

/// A source of random numbers that records when it is read.
struct NotingRng {
    numbers: Box<dyn Rng + Send>,
    call: Arc<Call>,
}

impl NotingRng {
    fn new(call: &Arc<Call>) -> Self {
        Self { numbers: thread_rng(), call: Arc::clone(call) }
    }

    fn noted(&mut self) -> &mut dyn Rng {
        note(&self.call, "random numbers");
        &mut *self.numbers
    }
}

impl TryRng for NotingRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.noted().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.noted().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.noted().fill_bytes(bytes);
        Ok(())
    }
}

/// A clock that stands still for a whole request.
#[derive(Clone)]
struct FrozenClock {
    now: Duration,
    call: Arc<Call>,
}

/// Records that the guest has read `what`, which no key contains. Logs it once per request,
/// because the client sees only that the answer is not stored.
fn note(call: &Call, what: &str) {
    if !call.untracked.swap(true, Ordering::Relaxed) {
        debug!(
            target: "weir::guest", request_id = call.request_id.as_str(),
            "the answer will not be stored: the guest read {what}"
        );
    }
}

impl HostWallClock for FrozenClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        note(&self.call, "the wall clock");
        self.now
    }
}

impl HostMonotonicClock for FrozenClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        note(&self.call, "the monotonic clock");
        u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX)
    }
}
