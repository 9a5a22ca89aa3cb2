//! `cargo xtask test`: runs all tests, with everything that they need.

use std::ffi::OsString;
use std::io::stdout;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::set_up::{self, Tools};
use crate::workspace::Workspace;
use crate::{components, outside, process};

/// Set up, build plugins, guests and server, and run every test
///
/// Tests run under cargo-nextest if it is installed, otherwise under `cargo test`. They find what
/// they need through environment variables: WEIR_BINARY (the server), WEIR_FAULTY_BINARY (a build of
/// it with faults, for `cargo xtask soak faults`), WEIR_COMPONENTS (plugins/, guests/ and outside/,
/// built from source), WEIR_ONNXRUNTIME_LIBRARY, WEIR_MODEL, WEIR_TOKENIZER, and
/// WEIR_CRANFIELD (the Cranfield collection, which only ignored tests need).
#[derive(Args, Default)]
#[command(verbatim_doc_comment)]
pub(crate) struct Test {
    /// The folder of the Cranfield collection, if it is not ../shared/data/cranfield
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cranfield: Option<PathBuf>,
    /// Arguments for the runner: a filter, or options after `--`; skips plugins' and doc tests
    #[arg(value_name = "RUNNER ARGUMENTS", trailing_var_arg = true)]
    pub(crate) arguments: Vec<OsString>,
    /// Variables for the tests. If there are any, the tests run one at a time, and what they print
    /// is shown.
    #[arg(skip)]
    pub(crate) variables: Vec<(&'static str, String)>,
    /// Whether the server with faults is built, and the tests that need it run, also those of the stores.
    #[arg(skip)]
    pub(crate) with_faults: bool,
    /// Whether tests run that are ignored otherwise; those that need faults are.
    #[arg(skip)]
    pub(crate) with_ignored: bool,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        set_up::redis()?;
        components::build(&workspace, &tools.wasm)?;
        outside::build(&workspace, &tools.wasm)?;
        build_server(&workspace)?;
        if self.with_faults {
            build_faulty_server(&workspace)?;
        }
        let cranfield = match self.cranfield {
            Some(folder) => {
                Some(folder.canonicalize().with_context(|| format!("{}", folder.display()))?)
            }
            None => workspace.cranfield(),
        };
        let environment = Environment {
            workspace: &workspace,
            tools: &tools,
            cranfield,
            with_faults: self.with_faults,
        };
        if self.arguments.is_empty() {
            // These run first, so that the output ends with the summary of the runner below.
            environment.run(plugins_cargo(&workspace).args([
                "test",
                "--release",
                "--workspace",
            ]))?;
            environment.run(process::cargo().args([
                "test",
                "--release",
                "--workspace",
                "--doc",
            ]))?;
        }
        if self.with_faults {
            // In a build of their own: faults are a feature.
            environment.run(process::cargo().args([
                "test",
                "--release",
                "--workspace",
                "--features",
                "weir-store/faults",
                "--test",
                "crashes",
            ]))?;
        }
        let has_nextest = process::succeeds(process::cargo().args(["nextest", "--version"]));
        let mut runner = process::cargo();
        if has_nextest {
            runner.args(["nextest", "run", "--release", "--workspace"]);
        } else {
            // Everything but the documentation tests.
            runner.args(["test", "--release", "--workspace", "--lib", "--bins", "--tests"]);
        }
        runner.args(self.arguments);
        if self.with_faults || self.with_ignored {
            runner.args(if has_nextest {
                &["--run-ignored", "all"][..]
            } else {
                &["--", "--ignored"]
            });
        }
        if !self.variables.is_empty() {
            let arguments: &[&str] = if has_nextest {
                &["--no-capture"]
            } else {
                &["--", "--nocapture", "--test-threads=1"]
            };
            runner.args(arguments).envs(self.variables);
        }
        environment.run(&mut runner)
    }
}

/// Cargo in `plugins/`, to check and test plugins as native code, because most of a plugin's logic
/// does not need a host.
pub(crate) fn plugins_cargo(workspace: &Workspace) -> Command {
    let mut cargo = process::cargo();
    cargo.current_dir(workspace.root.join("plugins"));
    cargo.env("CARGO_TARGET_DIR", workspace.guests_target());
    cargo
}

/// Builds the release binary of the server.
pub(crate) fn build_server(workspace: &Workspace) -> Result<()> {
    build(workspace, &["--bin", "weir"])
}

/// Builds the server that can have a fault, next to the other one.
fn build_faulty_server(workspace: &Workspace) -> Result<()> {
    build(workspace, &["--bin", "weir-faulty", "--features", "weir/faults"])
}

fn build(workspace: &Workspace, what: &[&str]) -> Result<()> {
    let mut build = process::cargo();
    // `--workspace` gives dependencies the same features as for the tests. With `--package`, large
    // dependencies would be compiled twice.
    build.args(["build", "--release", "--workspace"]).args(what);
    // Explicit, because `workspace` may not be the workspace of this program.
    build.arg("--target-dir").arg(&workspace.target);
    process::run(build.current_dir(&workspace.root))
}

struct Environment<'a> {
    workspace: &'a Workspace,
    tools: &'a Tools,
    cranfield: Option<PathBuf>,
    /// Whether the server with faults is built.
    with_faults: bool,
}

impl Environment<'_> {
    /// Runs a command with the environment of the tests. Its stderr goes to stdout, because nextest
    /// prints its summary to stderr.
    fn run(&self, command: &mut Command) -> Result<()> {
        let embedding = &self.tools.embedding;
        if command.get_current_dir().is_none() {
            command.current_dir(&self.workspace.root);
        }
        command
            .env("WEIR_BINARY", self.workspace.server_binary())
            .env("WEIR_COMPONENTS", self.workspace.components())
            .env("WEIR_ONNXRUNTIME_LIBRARY", &embedding.library)
            .env("WEIR_MODEL", &embedding.model)
            .env("WEIR_TOKENIZER", &embedding.tokenizer);
        if self.with_faults {
            command.env("WEIR_FAULTY_BINARY", self.workspace.faulty_binary());
        }
        if let Some(folder) = &self.cranfield {
            command.env("WEIR_CRANFIELD", folder);
        }
        command.stderr(Stdio::from(stdout().as_fd().try_clone_to_owned()?));
        process::run(command)
    }
}
