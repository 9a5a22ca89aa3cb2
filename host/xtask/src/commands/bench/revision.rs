//! Builds the server and the plugins of another revision of this repository.
//!
//! The revision is checked out as a worktree and built in `weir/bench` of the user's cache folder,
//! in a target folder that is kept. The results are kept for each commit, so that the next
//! comparison with the same commit builds nothing. The worktree is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::older;
use super::side::Side;
use crate::process;
use crate::set_up::{self, Tools};
use crate::workspace::{Workspace, cache_folder};

/// The exit status of clap for an unknown command.
const UNKNOWN_COMMAND: i32 = 2;
/// The file that describes the kept build of a commit.
const KEPT: &str = "side.json";
/// The parts of a target folder that the build of another checkout can use.
const REUSABLE: [&str; 5] =
    ["release/build", "release/deps", "release/.fingerprint", "weir-guests", "CACHEDIR.TAG"];

/// A revision of this repository.
pub(super) struct Revision {
    /// The full hash of its commit.
    commit: String,
    /// Its name on the command line.
    name: String,
}

/// A kept build. It is complete once this has been written.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The compiler that built it. With another one, the figures would differ for that reason too.
    rustc: String,
    side: Side,
}

impl Revision {
    /// Finds the commit of a revision.
    pub(super) fn find(workspace: &Workspace, name: &str) -> Result<Self> {
        let of_commit = format!("{name}^{{commit}}");
        let mut command = git(&workspace.root);
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", &of_commit]);
        let commit = process::output(&mut command).map_err(|_| {
            anyhow::anyhow!("this repository has no revision {name}: fetch it, or see `git log`")
        })?;
        Ok(Self { commit: commit.trim().to_owned(), name: name.to_owned() })
    }

    /// The short hash of its commit, after its name unless the name is a hash itself.
    pub(super) fn label(&self) -> String {
        let short = &self.commit[..self.commit.len().min(9)];
        if self.commit.starts_with(&self.name) {
            short.to_owned()
        } else {
            format!("{} ({short})", self.name)
        }
    }

    /// Builds its server and plugins, unless they were built before.
    pub(super) fn side(&self, workspace: &Workspace, tools: &Tools) -> Result<Side> {
        let base = cache_folder()?.join("bench");
        fs::create_dir_all(&base).with_context(|| format!("creating {}", base.display()))?;
        let _lock = set_up::lock(&base)?;
        let folder = base.join(&self.commit);
        let rustc = rustc_version()?;
        if let Some(side) = kept(&folder, &rustc) {
            eprintln!("{}: already built, in {}", self.label(), folder.display());
            return Ok(side);
        }
        let started = Instant::now();
        let target = base.join("target");
        seed(&workspace.target, &target)?;
        let worktree = Worktree::add(workspace, &base.join("source"), &self.commit)?;
        eprintln!("{}: building in {} …", self.label(), target.display());
        let side = build(&worktree, target, tools)
            .with_context(|| format!("building the revision {}", self.label()))?;
        let side = keep(side, &folder, rustc)?;
        eprintln!("{}: built in {:.0} s", self.label(), started.elapsed().as_secs_f64());
        Ok(side)
    }
}

/// Builds the revision with its own `bench-side`, or with `older` if it does not have that command.
fn build(worktree: &Worktree, target: PathBuf, tools: &Tools) -> Result<Side> {
    let source = &worktree.folder;
    let mut xtask = process::cargo();
    xtask.args(["build", "--release", "--package", "xtask"]);
    process::run(xtask.current_dir(source).env("CARGO_TARGET_DIR", &target))?;
    if !has_bench_side(source, &target)? {
        eprintln!("this revision has no `cargo xtask bench-side`: building it in the old way");
        let workspace = Workspace { root: source.clone(), target };
        return older::build(&workspace, tools);
    }
    let mut command = bench_side(source, &target);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("starting `{}`", process::line(&command)))?;
    ensure!(output.status.success(), "`{}` ended with {}", process::line(&command), output.status);
    let said = String::from_utf8(output.stdout)?;
    // Commands that it runs may print other lines first.
    let line = said.lines().last().context("`bench-side` printed nothing")?;
    serde_json::from_str(line).context("reading the output of `bench-side`")
}

/// Whether the revision has the command. This asks the program, because the location of its source
/// changes between revisions.
fn has_bench_side(source: &Path, target: &Path) -> Result<bool> {
    let mut command = bench_side(source, target);
    let output = command
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting `{}`", process::line(&command)))?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(UNKNOWN_COMMAND) => Ok(false),
        _ => bail!(
            "`{}` ended with {}\n{}",
            process::line(&command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        ),
    }
}

fn bench_side(source: &Path, target: &Path) -> Command {
    let mut command = process::cargo();
    command
        .args(["run", "--quiet", "--release", "--package", "xtask", "--", "bench-side"])
        .current_dir(source)
        .env("CARGO_TARGET_DIR", target);
    command
}

/// Copies the compiled dependencies of this checkout, so that only the workspace's own crates have
/// to be compiled. Cargo compiles those again because the files of a new worktree have new times.
fn seed(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    eprintln!("copying compiled dependencies to {} …", to.display());
    let unfinished = to.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)
            .with_context(|| format!("removing {}", unfinished.display()))?;
    }
    for part in REUSABLE.iter().filter(|part| from.join(part).exists()) {
        let copy = unfinished.join(part);
        let parent = copy.parent().context("a part of a target folder has no parent")?;
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        // Keeps the files' times, by which cargo tells what is up to date.
        let mut command = Command::new("cp");
        command.args(["--archive", "--reflink=auto"]).arg(from.join(part)).arg(&copy);
        process::run(&mut command)?;
    }
    fs::create_dir_all(&unfinished)?;
    fs::rename(&unfinished, to).with_context(|| format!("creating {}", to.display()))
}

/// Reads the kept build of a commit, if the same compiler built it.
fn kept(folder: &Path, rustc: &str) -> Option<Side> {
    let kept: Kept = serde_json::from_slice(&fs::read(folder.join(KEPT)).ok()?).ok()?;
    (kept.rustc == rustc && kept.side.binary.is_file()).then_some(kept.side)
}

/// Copies a build to where the build of another revision does not replace it.
fn keep(side: Side, folder: &Path, rustc: String) -> Result<Side> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let plugins = folder.join("plugins");
    fs::create_dir_all(&plugins).with_context(|| format!("creating {}", plugins.display()))?;
    for entry in fs::read_dir(&side.plugins)? {
        let component = entry?.path();
        let name = component.file_name().context("a component has no file name")?;
        fs::copy(&component, plugins.join(name))
            .with_context(|| format!("copying {}", component.display()))?;
    }
    let binary = folder.join("weir");
    fs::copy(&side.binary, &binary)
        .with_context(|| format!("copying {}", side.binary.display()))?;
    let kept = Kept { rustc, side: Side { binary, plugins, ..side } };
    fs::write(folder.join(KEPT), serde_json::to_string(&kept)?)
        .with_context(|| format!("writing {}", folder.join(KEPT).display()))?;
    Ok(kept.side)
}

/// The full version of the compiler.
pub(super) fn rustc_version() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    process::output(Command::new(rustc).arg("-vV"))
}

/// A worktree that is removed when this is dropped.
struct Worktree {
    repository: PathBuf,
    folder: PathBuf,
}

impl Worktree {
    fn add(workspace: &Workspace, folder: &Path, commit: &str) -> Result<Self> {
        let worktree = Self { repository: workspace.root.clone(), folder: folder.to_owned() };
        // A killed run leaves its worktree behind, perhaps one of another clone.
        worktree.remove()?;
        let mut command = git(&worktree.repository);
        command.args(["worktree", "add", "--quiet", "--detach"]).arg(folder).arg(commit);
        process::run(&mut command)?;
        Ok(worktree)
    }

    fn remove(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("removing {}", self.folder.display()))?;
        }
        process::run(git(&self.repository).args(["worktree", "prune"]))
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("cannot remove a worktree: {error:#}");
        }
    }
}

fn git(repository: &Path) -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(repository);
    command
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn repository(folder: &Path) -> Workspace {
        for arguments in [
            &["init", "--quiet"][..],
            &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-qm", "x"],
        ] {
            process::run(git(folder).args(arguments)).unwrap();
        }
        Workspace { root: folder.to_owned(), target: folder.join("target") }
    }

    #[test]
    fn a_missing_revision_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = repository(folder.path());
        let message = Revision::find(&workspace, "absent").err().unwrap().to_string();
        assert!(message.contains("absent"), "{message}");
        let head = Revision::find(&workspace, "HEAD").unwrap();
        assert_eq!(head.label(), format!("HEAD ({})", &head.commit[..9]));
        let again = Revision::find(&workspace, &head.commit[..12]).unwrap();
        assert_eq!(again.label(), &head.commit[..9]);
    }

    #[test]
    fn a_worktree_replaces_leftovers_and_is_removed_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let workspace = repository(folder.path());
        let left = other.path().join("source");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("file"), "left").unwrap();
        let worktree = Worktree::add(&workspace, &left, "HEAD").unwrap();
        assert!(left.join(".git").is_file() && !left.join("file").exists());
        drop(worktree);
        assert!(!left.exists());
        let list = process::output(git(&workspace.root).args(["worktree", "list"])).unwrap();
        assert_eq!(list.lines().count(), 1, "{list}");
    }

    #[test]
    fn a_side_is_kept_for_one_compiler() {
        let folder = tempfile::tempdir().unwrap();
        let built = folder.path().join("built");
        fs::create_dir_all(built.join("plugins")).unwrap();
        fs::write(built.join("server"), "binary").unwrap();
        fs::write(built.join("plugins/echo.wasm"), "component").unwrap();
        let side = Side {
            binary: built.join("server"),
            plugins: built.join("plugins"),
            configuration: "[data]".into(),
        };
        let place = folder.path().join("commit");
        assert_eq!(kept(&place, "1.95"), None);
        let side = keep(side, &place, "1.95".into()).unwrap();
        assert_eq!(kept(&place, "1.95"), Some(side.clone()));
        assert_eq!(kept(&place, "1.96"), None);
        assert!(side.binary.starts_with(&place) && side.plugins.join("echo.wasm").is_file());
    }

    #[test]
    fn a_target_folder_is_seeded_once() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("release/deps")).unwrap();
        fs::write(from.join("release/deps/a.rlib"), "a").unwrap();
        fs::write(from.join("release/weir"), "not a dependency").unwrap();
        seed(&from, &to).unwrap();
        assert!(to.join("release/deps/a.rlib").is_file() && !to.join("release/weir").exists());
        fs::write(from.join("release/deps/b.rlib"), "b").unwrap();
        seed(&from, &to).unwrap();
        assert!(!to.join("release/deps/b.rlib").exists());
    }
}
