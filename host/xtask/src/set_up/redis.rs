//! Redis, which tests start in folders of their own, from Debian's package.

use std::process::Command;

use anyhow::{Context, Result};

use super::system;
use crate::process;

/// Finds or installs Redis, and returns its version, such as `7.0.15`.
pub(crate) fn redis() -> Result<String> {
    if let Ok(version) = version() {
        return Ok(version);
    }
    system::install(&["redis-server"], "testing the shared tier needs Redis")?;
    version().context("redis-server was installed but does not run")
}

fn version() -> Result<String> {
    // "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=…"
    let line = process::output(Command::new("redis-server").arg("--version"))?;
    let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Ok(version.context("redis-server does not say its version")?.to_owned())
}
