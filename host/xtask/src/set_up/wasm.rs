//! Finds a way to build for `wasm32-unknown-unknown`: the active toolchain, if it has the target,
//! or Debian's compiler with the sources of std. It never runs rustup to download the target; that
//! is up to the user.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};

use super::system;
use crate::process;

/// The target of every guest: modules without WASI imports.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// How guests are compiled on this machine.
pub(crate) enum WasmToolchain {
    /// The active toolchain has the target.
    Installed,
    /// Debian's compiler (`rustc-web`) builds std from `rust-web-src`. The active toolchain's cargo
    /// runs it, and its linker links; `linkers` has the linker's folders, to put in front of
    /// `PATH`.
    Debian { linkers: OsString },
}

impl WasmToolchain {
    /// Finds a way to build, and installs Debian's packages if the toolchain lacks the target.
    pub(super) fn find_or_install() -> Result<Self> {
        let libraries = rustc(&["--print=target-libdir", "--target", TARGET])?;
        if Path::new(&libraries).is_dir() {
            return Ok(Self::Installed);
        }
        Self::debian().map_err(|error| {
            anyhow!(
                "cannot compile plugins to WebAssembly: {error:#}\n\
                 With rustup, run this instead:\n    rustup target add {TARGET}"
            )
        })
    }

    /// A `cargo build` for the target. The caller adds what to build.
    pub(crate) fn cargo_build(&self) -> Result<Command> {
        let mut command = process::cargo();
        command.args(["build", "--release", "--target", TARGET]);
        if let Self::Debian { linkers } = self {
            let path = env::var_os("PATH").unwrap_or_default();
            let folders = env::split_paths(linkers).chain(env::split_paths(&path));
            command
                .arg("-Zbuild-std=std,panic_abort")
                .env("RUSTC", DEBIAN_RUSTC)
                // Lets a stable compiler accept `-Z`.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("PATH", env::join_paths(folders)?);
        }
        Ok(command)
    }

    fn debian() -> Result<Self> {
        let host = rustc(&["-vV"])?;
        let host = host
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .context("`rustc -vV` does not print the host")?;
        let bin =
            PathBuf::from(rustc(&["--print=sysroot"])?).join("lib/rustlib").join(host).join("bin");
        ensure!(bin.join("rust-lld").is_file(), "{} has no rust-lld", bin.display());
        if !Self::debian_is_present() {
            system::install(&DEBIAN_PACKAGES, "compiling plugins to WebAssembly needs a compiler")?;
            ensure!(Self::debian_is_present(), "the packages do not contain the sources of std");
        }
        Ok(Self::Debian { linkers: env::join_paths([&bin, &bin.join("gcc-ld")])? })
    }

    fn debian_is_present() -> bool {
        process::output(Command::new(DEBIAN_RUSTC).arg("--print=sysroot")).is_ok_and(|sysroot| {
            Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std").is_dir()
        })
    }
}

/// Runs the active toolchain's compiler and returns its output.
fn rustc(arguments: &[&str]) -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(process::output(Command::new(rustc).args(arguments))?.trim().to_owned())
}
