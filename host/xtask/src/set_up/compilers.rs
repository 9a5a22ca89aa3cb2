//! A C++ compiler, for libFuzzer, from Debian's package.

use std::process::Command;

use anyhow::{Result, ensure};

use super::system;
use crate::process;

/// Finds or installs a C++ compiler, as the crate `cc` finds it.
pub(crate) fn cpp_compiler() -> Result<()> {
    let present = || process::succeeds(Command::new("c++").arg("--version"));
    if !present() {
        system::install(&["g++"], "compiling libFuzzer needs a C++ compiler")?;
        ensure!(present(), "g++ was installed, but `c++` does not run");
    }
    Ok(())
}
