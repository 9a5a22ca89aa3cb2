//! Collects the sources of the SDK and of the WIT, so that a program that is linked with this crate has them.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The file that says which version the WIT has.
const WORLDS: &str = "wit/world.wit";

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../..").canonicalize()?;
    let sdk = root.join("plugins/sdk");
    let mut files = vec![("Cargo.toml".to_owned(), sdk.join("Cargo.toml"))];
    collect(&sdk.join("src"), "src", &mut files)?;
    // A folder of the repository, to which the SDK has a link.
    collect(&root.join("wit"), "wit", &mut files)?;
    files.sort();
    let lock = root.join("plugins/Cargo.lock");
    let mut code =
        String::from("/// The files of the SDK: their paths in its folder, and their texts.\n");
    code.push_str("pub static FILES: &[(&str, &str)] = &[\n");
    for (name, path) in &files {
        writeln!(code, "    ({name:?}, include_str!({path:?})),")?;
    }
    code.push_str("];\n");
    code.push_str("/// The versions of its dependencies that Weir is tested with.\n");
    writeln!(code, "pub static LOCK: &str = include_str!({lock:?});")?;
    code.push_str("/// The version of the WIT that it is for.\n");
    writeln!(code, "pub const WIT_VERSION: &str = {:?};", wit_version(&root.join(WORLDS))?)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("sdk.rs"), code)?;
    for watched in [sdk, root.join("wit"), lock] {
        println!("cargo:rerun-if-changed={}", watched.display());
    }
    Ok(())
}

fn collect(
    folder: &Path,
    name: &str,
    files: &mut Vec<(String, PathBuf)>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let file =
            entry.file_name().into_string().map_err(|name| format!("{name:?}: not UTF-8"))?;
        let name = format!("{name}/{file}");
        match entry.file_type()?.is_dir() {
            true => collect(&entry.path(), &name, files)?,
            false => files.push((name, entry.path())),
        }
    }
    Ok(())
}

/// The version in the `package` line.
fn wit_version(worlds: &Path) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(worlds)?;
    let version = text.lines().find_map(|line| line.strip_prefix("package weir:worlds@"));
    let version = version.and_then(|rest| rest.strip_suffix(';'));
    Ok(version.ok_or_else(|| format!("{WORLDS} has no version"))?.to_owned())
}
