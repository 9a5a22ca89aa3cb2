//! What tests search on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use weir_limits::priority::Work;
use weir_limits::threads::{Account, FairThreads};
use weir_limits::waited::Waited;

/// An account of threads that all tests of this process share.
pub(crate) fn account() -> Account {
    static THREADS: LazyLock<FairThreads> =
        LazyLock::new(|| FairThreads::start("weir-search", Work::Shared, 0, None).unwrap());
    THREADS.account(THREADS.group(1), 1, Waited::default())
}
