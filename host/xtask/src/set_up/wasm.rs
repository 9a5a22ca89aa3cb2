//! Finds a way to compile guests, and installs Debian's packages for it if there is none. It never runs rustup to
//! download the target; that is up to the user.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use weir_authoring::toolchain::{TARGET, Toolchain, linkers};

use super::system;

const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];
/// Where the toolchain is looked for: the folder that this runs in.
const HERE: &str = ".";

/// Finds a way to build, and installs Debian's packages if the toolchain lacks the target.
pub(super) fn find_or_install() -> Result<Toolchain> {
    if let Some(found) = Toolchain::find(Path::new(HERE))? {
        return Ok(found);
    }
    install().map_err(|error| {
        anyhow!(
            "cannot compile plugins to WebAssembly: {error:#}\n\
             With rustup, run this instead:\n    rustup target add {TARGET}"
        )
    })
}

fn install() -> Result<Toolchain> {
    // Without them, the packages would be of no use.
    linkers(Path::new(HERE))?;
    system::install(&DEBIAN_PACKAGES, "compiling plugins to WebAssembly needs a compiler")?;
    let found = Toolchain::find(Path::new(HERE))?;
    found.context("the packages do not contain the sources of std")
}
