//! `cargo xtask setup`: fetches and checks what a machine needs to build and run Weir.

use anyhow::Result;
use clap::Args;

use weir_authoring::toolchain::Toolchain;

use crate::set_up;
use crate::workspace::cache_folder;

/// Fetch what is missing to build, run and test Weir
///
/// ONNX Runtime, the embedding model and cargo-deny go to `weir` in the user's cache folder
/// ($XDG_CACHE_HOME or ~/.cache), and the sha-256 of each file is checked. If the Rust toolchain
/// cannot compile to WebAssembly, Debian's rustc-web and rust-web-src are installed. Valgrind and Redis
/// are installed too: `bench instructions` and `test` need them. Installing packages needs root, or
/// sudo without a password; otherwise, the command to run is printed. The other commands fetch what they
/// need themselves. If nothing is missing, this ends at once and needs no network.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Setup {}

impl Setup {
    pub(crate) fn run(self) -> Result<()> {
        let tools = set_up::set_up()?;
        set_up::cargo_deny()?;
        // Not errors: only `bench instructions` needs valgrind, and only tests need Redis. Both report it if
        // what they need is missing.
        let valgrind = set_up::valgrind().unwrap_or_else(|error| format!("missing: {error:#}"));
        let redis = set_up::redis().unwrap_or_else(|error| format!("missing: {error:#}"));
        let wasm = match tools.wasm {
            Toolchain::Installed => "the target of the Rust toolchain",
            Toolchain::Debian { .. } => "Debian's rustc-web and rust-web-src",
        };
        println!("WebAssembly: {wasm}");
        println!("Valgrind:    {valgrind}");
        println!("Redis:       {redis}");
        println!("Files:       {}", cache_folder()?.display());
        println!("Set-up is complete. Next: cargo xtask demo");
        Ok(())
    }
}
