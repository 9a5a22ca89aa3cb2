//! `cargo xtask setup`: what a machine needs, fetched and checked; nothing is built.

use anyhow::Result;
use clap::Args;

use crate::set_up::{self, WasmToolchain};
use crate::workspace::cache_folder;

/// Fetch what is missing to build, run and test Weir
///
/// ONNX Runtime, the embedding model and cargo-deny go into `weir` in the user's cache
/// folder ($XDG_CACHE_HOME, else ~/.cache), each file checked by its sha-256. Where the Rust
/// toolchain cannot compile to WebAssembly, Debian's packages that can are installed, and so is
/// valgrind, which counts instructions for `bench`: as root or with sudo; without either, the
/// command to run is printed. The other commands do this by themselves. When nothing is
/// missing, it ends at once and needs no network.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) fn run(self) -> Result<()> {
        let tools = set_up::set_up()?;
        set_up::cargo_deny()?;
        // Only `bench instructions` needs it, and says the same where it is missing.
        let valgrind = set_up::valgrind().unwrap_or_else(|error| format!("missing: {error:#}"));
        let wasm = match tools.wasm {
            WasmToolchain::Installed => "the toolchain's own target",
            WasmToolchain::Debian { .. } => "Debian's rustc-web and rust-web-src",
        };
        println!("WebAssembly: {wasm}");
        println!("Valgrind:    {valgrind}");
        println!("Files:       {}", cache_folder()?.display());
        println!("Set up. Next: cargo xtask demo");
        Ok(())
    }
}
