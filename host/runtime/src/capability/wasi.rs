//! WASI for components whose toolchain brings it along: linked, with nothing granted. No
//! files, no sockets, no arguments, no environment; output goes nowhere. The clocks stand
//! still at the beginning of the request, and reading them makes its answer unstorable; a
//! component that imports random numbers is taken to read them (`pipeline::load`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx};

/// Random numbers asked for at once.
const MAX_RANDOM_BYTES: u64 = 64 << 10;

/// The context of one store. `untracked` is set when a clock is read.
#[must_use]
pub fn nothing(untracked: &Arc<AtomicBool>) -> Box<WasiCtx> {
    let clock = FrozenClock {
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        untracked: Arc::clone(untracked),
    };
    let mut wasi = WasiCtx::builder();
    wasi.wall_clock(clock.clone())
        .monotonic_clock(clock)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM_BYTES);
    Box::new(wasi.build())
}

/// One moment for a whole request.
#[derive(Clone)]
struct FrozenClock {
    now: Duration,
    untracked: Arc<AtomicBool>,
}

impl HostWallClock for FrozenClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.untracked.store(true, Ordering::Relaxed);
        self.now
    }
}

impl HostMonotonicClock for FrozenClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.untracked.store(true, Ordering::Relaxed);
        u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX)
    }
}
