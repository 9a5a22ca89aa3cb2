//! `weir compile`: the process that `weir serve` starts to compile a component. Not for people, so it is not in
//! the help.

use anyhow::Context as _;
use weir_runtime::engine::compile;

/// Compiles what standard input says.
///
/// # Errors
/// It is no request, or nobody reads the reply.
pub(super) fn run() -> anyhow::Result<()> {
    compile::run_child().context("`weir compile` is for `weir serve` alone")
}
