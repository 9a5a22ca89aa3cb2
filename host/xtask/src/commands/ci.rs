//! `cargo xtask ci`: the checks that a change must pass, in stages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use weir_authoring::toolchain::TARGET;

use crate::commands::bench::instructions;
use crate::commands::demo::Demo;
use crate::commands::dist::Dist;
use crate::commands::structure::Structure;
use crate::commands::test::{Test, plugins_cargo};
use crate::process;
use crate::set_up;
use crate::workspace::Workspace;

/// What cargo-deny checks.
const CHECKS: [&str; 4] = ["check", "bans", "licenses", "sources"];

/// Run all the checks that CI runs
///
/// Checks formatting, structure, lints, documentation and dependencies, runs the tests, runs the
/// demo once, packs the tarball and runs it, and compares the instructions of an answer with the
/// pinned figures. Stops at the first stage that fails. `.ci/run` calls this.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Ci {
    /// The folder of the Cranfield collection, if it is not ../shared/data/cranfield
    #[arg(long, value_name = "FOLDER")]
    cranfield: Option<PathBuf>,
}

impl Ci {
    pub(crate) async fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let (hosts, guests) = (workspace.host_manifests(), workspace.guest_manifests());
        let mut stages = Stages::default();
        stages
            .run("format", async {
                let mut manifests = hosts.iter().chain(&guests);
                manifests.try_for_each(|manifest| process::run(&mut format(manifest)))
            })
            .await?;
        stages.run("structure", async { Structure {}.run() }).await?;
        stages
            .run("lint", async {
                process::run(&mut lint(host_cargo(&workspace)))?;
                process::run(&mut lint(plugins_cargo(&workspace)))
            })
            .await?;
        stages
            .run("documentation", async {
                process::run(&mut document(host_cargo(&workspace)))?;
                process::run(&mut document(plugins_cargo(&workspace)))
            })
            .await?;
        stages
            .run("dependencies", async {
                let cargo_deny = set_up::cargo_deny()?;
                let check = |manifest: &PathBuf| dependencies(&workspace, &cargo_deny, manifest);
                hosts.iter().try_for_each(|host| process::run(check(host).args(CHECKS)))?;
                guests.iter().try_for_each(|guest| {
                    process::run(check(guest).args(["--target", TARGET]).args(CHECKS))
                })
            })
            .await?;
        let test = Test { cranfield: self.cranfield, ..Test::default() };
        stages.run("test", async { test.run() }).await?;
        stages.run("demo", Demo::once().run()).await?;
        stages.run("dist", Dist::checked().run()).await?;
        stages.run_or_skip("instructions", instructions::check()).await?;
        stages.report();
        Ok(())
    }
}

fn format(manifest: &Path) -> Command {
    let mut command = process::cargo();
    command.args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest);
    command
}

fn host_cargo(workspace: &Workspace) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(&workspace.root);
    cargo
}

fn lint(mut cargo: Command) -> Command {
    cargo.args(["clippy", "--release", "--workspace", "--all-targets", "--", "--deny=warnings"]);
    cargo
}

fn document(mut cargo: Command) -> Command {
    cargo
        .args(["doc", "--release", "--no-deps", "--workspace"])
        .env("RUSTDOCFLAGS", "--deny=warnings");
    cargo
}

fn dependencies(workspace: &Workspace, cargo_deny: &Path, manifest: &Path) -> Command {
    let mut command = Command::new(cargo_deny);
    command.arg("--manifest-path").arg(manifest);
    command.arg("--config").arg(workspace.root.join("deny.toml"));
    command
}

/// The results of the stages so far.
#[derive(Default)]
struct Stages {
    /// Stages that passed, and how long they took.
    passed: Vec<(&'static str, Duration)>,
    /// Stages that could not check anything here, and why.
    skipped: Vec<(&'static str, String)>,
}

impl Stages {
    async fn run(
        &mut self,
        name: &'static str,
        stage: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        self.run_or_skip(name, async { stage.await.map(|()| None) }).await
    }

    /// Runs a stage that returns the reason if it cannot check anything.
    async fn run_or_skip(
        &mut self,
        name: &'static str,
        stage: impl Future<Output = Result<Option<String>>>,
    ) -> Result<()> {
        println!("── {name}");
        let started = Instant::now();
        match stage.await.with_context(|| format!("the stage `{name}` failed"))? {
            None => self.passed.push((name, started.elapsed())),
            Some(why) => self.skipped.push((name, why)),
        }
        Ok(())
    }

    fn report(&self) {
        println!("── passed");
        for (name, duration) in &self.passed {
            println!("{name:<16}{:>8.1} s", duration.as_secs_f64());
        }
        for (name, why) in &self.skipped {
            println!("── SKIPPED: {name}: {why}");
        }
    }
}
