//! Finds a way to build for `wasm32-unknown-unknown`: the active toolchain, if it has the target, or Debian's
//! compiler with the sources of std. Where there is rustup, it can add the target.
//!
//! Out of scope: installing packages of a system.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::process;

/// The target of every guest: modules without WASI imports.
pub const TARGET: &str = "wasm32-unknown-unknown";

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// How guests are compiled on this machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The active toolchain has the target.
    Installed,
    /// Debian's compiler (`rustc-web`) builds std from `rust-web-src`. The active toolchain's cargo
    /// runs it, and its linker links; `linkers` has the linker's folders, to put in front of
    /// `PATH`.
    Debian {
        /// What is put in front of `PATH`.
        linkers: OsString,
    },
}

/// How cargo compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For servers.
    Release,
    /// Compiles faster, and gives larger and slower components.
    Debug,
}

impl Toolchain {
    /// Finds a way to build the crate in `folder`, in which another toolchain may be active. `None` if there
    /// is none.
    ///
    /// # Errors
    /// There is no Rust compiler.
    pub fn find(folder: &Path) -> Result<Option<Self>> {
        let libraries = rustc(folder, &["--print=target-libdir", "--target", TARGET])?;
        if Path::new(&libraries).is_dir() {
            return Ok(Some(Self::Installed));
        }
        if !debian_is_present() {
            return Ok(None);
        }
        Ok(linkers(folder).ok().map(|linkers| Self::Debian { linkers }))
    }

    /// The same. If there is no way, has rustup add the target.
    ///
    /// # Errors
    /// There is no Rust compiler, or rustup is not there or cannot add the target. The message has the one command
    /// to run.
    pub fn find_or_add(folder: &Path) -> Result<Self> {
        let remedy = |error, remedy| anyhow!("{error:#}\n{remedy}");
        if let Some(found) = Self::find(folder).map_err(|error| remedy(error, WITHOUT_RUST))? {
            return Ok(found);
        }
        let mut rustup = Command::new("rustup");
        rustup.current_dir(folder);
        if !process::succeeds(rustup.arg("--version")) {
            bail!(WITHOUT_RUSTUP);
        }
        let mut add = Command::new("rustup");
        add.current_dir(folder).args(["target", "add", TARGET]);
        eprintln!("Adding Rust's target {TARGET}: `{}`", process::line(&add));
        process::run(&mut add).map_err(|error| remedy(error, WITH_RUSTUP))?;
        Self::find(folder)?.context(WITH_RUSTUP)
    }

    /// A `cargo build` for the target. The caller adds what to build.
    ///
    /// # Errors
    /// A folder cannot be in `PATH`.
    pub fn cargo_build(&self, profile: Profile) -> Result<Command> {
        let mut command = process::cargo();
        command.args(["build", "--target", TARGET]);
        if profile == Profile::Release {
            command.arg("--release");
        }
        // Flags for the host, such as a linker or a CPU, are not meant for guests.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.arg("--config").arg(without_paths(cargo_home().as_deref()));
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
}

fn cargo_home() -> Option<PathBuf> {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// Has the compiler write `/cargo` for the folder that cargo has dependencies in, so that the same source gives the
/// same bytes for every user; the paths of the crate itself are relative to its folder. Unlike `RUSTFLAGS`, this adds
/// to what the crate's own configuration of cargo says. It does not depend on the crate, because cargo compiles
/// everything again that has other flags.
fn without_paths(cargo_home: Option<&Path>) -> String {
    // A path that is not UTF-8 cannot be in a configuration.
    let home = cargo_home.and_then(Path::to_str);
    let flags: Vec<_> =
        home.map(|home| format!("--remap-path-prefix={home}=/cargo")).into_iter().collect();
    // An array of strings is the same in JSON and in TOML.
    format!("target.{TARGET}.rustflags={}", serde_json::Value::from(flags))
}

const WITHOUT_RUST: &str = "cannot compile plugins without Rust. Run\n    \
     curl -sSf https://sh.rustup.rs | sh -s -- -y --target wasm32-unknown-unknown\n\
     and then this again";
const WITHOUT_RUSTUP: &str = "cannot compile plugins: this Rust has no target wasm32-unknown-unknown, and there is no rustup to add it. Run\n    \
     curl -sSf https://sh.rustup.rs | sh -s -- -y --target wasm32-unknown-unknown\n\
     and then this again";
const WITH_RUSTUP: &str = "cannot compile plugins: this Rust has no target wasm32-unknown-unknown. Run\n    \
     rustup target add wasm32-unknown-unknown\n\
     and then this again";

/// The folders of the active toolchain's linker, which can link for the target.
///
/// # Errors
/// It has none.
pub fn linkers(folder: &Path) -> Result<OsString> {
    let host = rustc(folder, &["-vV"])?;
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` does not print the host")?;
    let sysroot = PathBuf::from(rustc(folder, &["--print=sysroot"])?);
    let bin = sysroot.join("lib/rustlib").join(host).join("bin");
    ensure!(bin.join("rust-lld").is_file(), "{} has no rust-lld", bin.display());
    Ok(env::join_paths([&bin, &bin.join("gcc-ld")])?)
}

fn debian_is_present() -> bool {
    process::output(Command::new(DEBIAN_RUSTC).arg("--print=sysroot")).is_ok_and(|sysroot| {
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/std").is_dir()
    })
}

/// Runs the active toolchain's compiler and returns its output.
fn rustc(folder: &Path, arguments: &[&str]) -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    Ok(process::output(command.current_dir(folder).args(arguments))?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_toml() {
        for (home, flags) in
            [(None, "[]"), (Some("/a \"b\\"), r#"["--remap-path-prefix=/a \"b\\=/cargo"]"#)]
        {
            let expected = format!("target.wasm32-unknown-unknown.rustflags={flags}");
            assert_eq!(without_paths(home.map(Path::new)), expected);
        }
    }

    #[test]
    fn each_message_has_one_command() {
        for (message, command) in [
            (WITHOUT_RUST, "--target wasm32-unknown-unknown"),
            (WITHOUT_RUSTUP, "--target wasm32-unknown-unknown"),
            (WITH_RUSTUP, "rustup target add wasm32-unknown-unknown"),
        ] {
            let commands: Vec<_> =
                message.lines().filter(|line| line.starts_with("    ")).collect();
            assert!(matches!(commands.as_slice(), [one] if one.contains(command)), "{message}");
            assert!(message.contains(TARGET), "{message}");
        }
    }
}
