//! `weir plugin build`: a plugin's file, made of its crate.
//!
//! What is wrong with the manifest is said before the compiler runs, and what is wrong with the code is said by the
//! compiler.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use serde_json::json;
use weir_authoring::toolchain::{Profile, Toolchain};
use weir_authoring::{compile, component};
use weir_core::digest::PluginDigest;
use weir_runtime::plugin::manifest::{Manifest, ManifestErrors};
use weir_runtime::plugin::section::embed;

use super::{MANIFEST, Source};

/// The arguments of `weir plugin build`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
}

/// A plugin's file.
pub(super) struct Built {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What is in it.
    pub(super) bytes: Vec<u8>,
    /// What it is called.
    pub(super) digest: PluginDigest,
    /// What it says of itself.
    pub(super) manifest: Manifest,
    /// When the compiler ended.
    pub(super) compiled: Instant,
}

/// Builds the plugin, and prints where it is, how large it is, and its digest.
///
/// # Errors
/// As [`build`].
pub(super) fn run(Arguments { source }: &Arguments, as_json: bool) -> anyhow::Result<()> {
    let Built { path, bytes, digest, .. } = build(&source.path, source.profile())?;
    let (path, bytes) = (path.display().to_string(), bytes.len());
    match as_json {
        true => {
            let digest = digest.to_string();
            println!("{:#}", json!({ "path": path, "bytes": bytes, "digest": digest }));
        }
        false => println!("{path} ({} kB)\n{digest}", bytes.div_ceil(1_000)),
    }
    Ok(())
}

/// Builds the plugin whose crate is in `folder`, and writes it to `target/NAME.wasm` there.
///
/// # Errors
/// There is no crate or no manifest, the manifest is not valid, Rust cannot compile to WebAssembly, or the crate cannot
/// be compiled.
pub(super) fn build(folder: &Path, profile: Profile) -> anyhow::Result<Built> {
    let file = in_folder(folder, MANIFEST);
    let text = fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read the manifest {}. Give the folder of a plugin's crate with --path; \
             `weir plugin new` makes one",
            file.display()
        )
    })?;
    let manifest = Manifest::parse(&text).map_err(|errors| anyhow!(shown(&file, &errors)))?;
    let toolchain = Toolchain::find_or_add(folder)?;
    let made = component::build(&toolchain, folder, profile, None)?;
    let bytes = embed(&made.bytes, &text)
        .with_context(|| format!("{} cannot be a part of the plugin", file.display()))?;
    let target = in_folder(folder, "target");
    fs::create_dir_all(&target).with_context(|| format!("creating {}", target.display()))?;
    let path = target.join(format!("{}.wasm", manifest.name));
    compile::write(&path, &bytes)?;
    Ok(Built { digest: PluginDigest::of(&bytes), path, bytes, manifest, compiled: made.compiled })
}

/// A path that is shown to people, so without a `./` in front.
fn in_folder(folder: &Path, name: &str) -> PathBuf {
    if folder == Path::new(".") { name.into() } else { folder.join(name) }
}

/// The faults, each with the path of the manifest, as compilers write it.
fn shown(file: &Path, errors: &ManifestErrors) -> String {
    let mut shown = String::from("the manifest is not valid; see docs/plugin-toml.md:");
    for fault in &errors.faults {
        let _ = write!(shown, "\n  {}:{fault}", file.display());
    }
    if errors.more > 0 {
        let _ = write!(shown, "\n  and {} more", errors.more);
    }
    shown
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// The error of building a folder with these files.
    fn refused(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let error = build(folder.path(), Profile::Release).err().unwrap();
        format!("{error:#}").replace(folder.path().to_str().unwrap(), "hello")
    }

    #[test]
    fn what_is_wrong_with_a_manifest_is_said_with_its_file_and_line() {
        let error = refused(&[(
            MANIFEST,
            "name = \"Hello\"\nversion = \"1\"\nrole = \"pipelin\"\nwit = \"0.0.1\"\nnmae = 1\n",
        )]);
        for expected in [
            "hello/plugin.toml:1: name: ",
            "hello/plugin.toml:3: role: ",
            "hello/plugin.toml:4: wit: ",
            "hello/plugin.toml:5: nmae: ",
            "did you mean 'name'?",
        ] {
            assert!(error.contains(expected), "no {expected:?} in {error}");
        }
    }

    #[test]
    fn a_folder_that_is_no_plugin_is_refused_with_a_remedy() {
        let error = refused(&[]);
        assert!(
            error.contains("hello/plugin.toml") && error.contains("weir plugin new"),
            "{error}"
        );
    }
}
