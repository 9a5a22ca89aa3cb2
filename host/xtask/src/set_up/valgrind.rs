//! Valgrind, whose callgrind counts instructions: Debian's package.

use std::process::Command;

use anyhow::{Context, Result};

use super::system;
use crate::process;

/// Ensures it and returns its version, such as `valgrind-3.19.0`.
pub(crate) fn valgrind() -> Result<String> {
    if let Ok(version) = version() {
        return Ok(version);
    }
    system::install(&["valgrind"], "instructions are counted under valgrind")?;
    version().context("valgrind was installed and does not run")
}

fn version() -> Result<String> {
    // Part of the package: how a program under valgrind is told what to do.
    process::output(Command::new("vgdb").arg("--help"))?;
    Ok(process::output(Command::new("valgrind").arg("--version"))?.trim().to_owned())
}
