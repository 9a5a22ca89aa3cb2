//! Builds the crates that documents develop in their code blocks, outside the repository as a
//! plugin author would. The tests serve them and send them requests.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use weir_authoring::component;
use weir_authoring::toolchain::{Profile, Toolchain};
use weir_documentation::{Package, blocks, packages};

use crate::components::{self, Components};
use crate::workspace::Workspace;

/// The documents that develop crates.
const DOCUMENTS: &[&str] = &["plugins/README.md"];

/// How documents write the path of the reader's `plugins/`.
const REPOSITORY: &str = "…/plugins/";

/// Builds the crates of all documents into `outside/` of [`Workspace::components`].
pub(crate) fn build(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let mut components = Components::new();
    for document in DOCUMENTS {
        let file = workspace.root.join(document);
        let markdown =
            fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let packages = blocks(&markdown)
            .map_err(anyhow::Error::from)
            .and_then(|blocks| Ok(packages(&blocks)?))
            .with_context(|| format!("reading the code blocks of {document}"))?;
        for package in packages {
            let component = build_one(workspace, toolchain, &package).with_context(|| {
                format!("building {} ({document}:{})", package.name, package.line)
            })?;
            if components.insert(package.name.clone(), component).is_some() {
                bail!("{document}: another document also builds {}", package.name);
            }
        }
    }
    components::write(&workspace.components().join("outside"), &components)
}

fn build_one(workspace: &Workspace, toolchain: &Toolchain, package: &Package) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("creating a folder for a crate")?;
    let folder = folder.path().join(&package.name);
    lay_out(package, &workspace.root, &folder)?;
    // The versions of the repository's plugins, which have already been fetched.
    fs::copy(workspace.root.join("plugins/Cargo.lock"), folder.join("Cargo.lock"))
        .context("copying plugins/Cargo.lock")?;
    let target = workspace.guests_target();
    Ok(component::build(toolchain, &folder, Profile::Release, Some(&target))?.bytes)
}

/// Writes the crate's files, with the repository's path in place of `…`.
fn lay_out(package: &Package, root: &Path, folder: &Path) -> Result<()> {
    let root = root.to_str().context("the path of the repository is not UTF-8")?;
    for (path, text) in &package.files {
        let file = folder.join(path);
        let parent = file.parent().context("a file of the crate has no folder")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        fs::write(&file, text.replace(REPOSITORY, &format!("{root}/plugins/")))
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_crate_depends_on_the_sdk_of_the_repository() {
        let blocks = blocks(
            "```toml file=a/Cargo.toml\nweir-sdk = { path = \"…/plugins/sdk\" }\n```\n\
             ```rust file=a/src/lib.rs\n//! …\n```\n",
        );
        let packages = packages(&blocks.unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        lay_out(&packages[0], Path::new("/repository"), folder.path()).unwrap();
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).unwrap();
        assert_eq!(read("Cargo.toml"), "weir-sdk = { path = \"/repository/plugins/sdk\" }\n");
        assert_eq!(read("src/lib.rs"), "//! …\n");
    }
}
