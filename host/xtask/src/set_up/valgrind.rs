//! Valgrind, whose callgrind counts instructions, from Debian's package.

use std::process::Command;

use anyhow::{Context, Result};

use super::system;
use crate::process;

/// Finds or installs valgrind, and returns its version, such as `valgrind-3.19.0`.
pub(crate) fn valgrind() -> Result<String> {
    if let Ok(version) = version() {
        return Ok(version);
    }
    system::install(&["valgrind"], "counting instructions needs valgrind")?;
    version().context("valgrind was installed but does not run")
}

fn version() -> Result<String> {
    // `vgdb`, which sends commands to a program under valgrind, is part of the package.
    process::output(Command::new("vgdb").arg("--help"))?;
    Ok(process::output(Command::new("valgrind").arg("--version"))?.trim().to_owned())
}
