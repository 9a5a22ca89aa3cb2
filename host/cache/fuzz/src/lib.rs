//! The allocator of the fuzz targets, which counts, so that no input takes more memory than it may cost.
//! libFuzzer looks at what is resident, and would not notice what is allocated because of a length that an
//! input claims, and never written to.

use std::alloc::System;

use cap::Cap;

/// More than the checks of one input need, and less than what a wrong length can ask for.
const MAX_BYTES: usize = 1 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs a check of an input, and checks how much was allocated at the same time.
pub fn bounded(check: impl FnOnce()) {
    check();
    let most = ALLOCATOR.max_allocated();
    assert!(most <= MAX_BYTES, "{most} bytes were allocated");
}
