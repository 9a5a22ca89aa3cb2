//! `cargo xtask test`: every test there is, with what they need.

use std::ffi::OsString;
use std::io::stdout;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;

use crate::set_up::{self, Tools};
use crate::workspace::Workspace;
use crate::{components, process};

/// Set up, build plugins, guests and server, and run every test
///
/// Tests run under cargo-nextest where it is installed, else under `cargo test`. They find
/// what they need in the environment: WEIR_BINARY (the server), WEIR_COMPONENTS (plugins/ and
/// guests/, built from source), WEIR_ONNXRUNTIME_LIBRARY, WEIR_MODEL, WEIR_TOKENIZER, and
/// WEIR_CRANFIELD (the Cranfield collection; tests that use it say when it is missing).
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Test {
    /// The Cranfield collection, unless it lies in ../shared/data/cranfield
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cranfield: Option<PathBuf>,
    /// Passed to the runner: a filter, or options after `--`. Documentation tests are left out then
    #[arg(value_name = "RUNNER ARGUMENTS", trailing_var_arg = true)]
    pub(crate) arguments: Vec<OsString>,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        components::build(&workspace, &tools.wasm)?;
        build_server(&workspace)?;
        let cranfield = match self.cranfield {
            Some(folder) => {
                Some(folder.canonicalize().with_context(|| format!("{}", folder.display()))?)
            }
            None => workspace.cranfield(),
        };
        let mut environment = Environment { workspace: &workspace, tools: &tools, cranfield };
        if self.arguments.is_empty() {
            // First, so that the last line is the summary of the many tests.
            environment.run(process::cargo().args([
                "test",
                "--release",
                "--workspace",
                "--doc",
            ]))?;
        }
        let has_nextest = process::succeeds(process::cargo().args(["nextest", "--version"]));
        let runner: &[&str] = if has_nextest { &["nextest", "run"] } else { &["test"] };
        let mut command = process::cargo();
        command.args(runner).args(["--release", "--workspace"]);
        if !has_nextest {
            // Everything but the documentation tests, which have run.
            command.args(["--lib", "--bins", "--tests"]);
        }
        environment.run(command.args(self.arguments))
    }
}

/// Builds the release binary of the server.
pub(crate) fn build_server(workspace: &Workspace) -> Result<()> {
    let mut build = process::cargo();
    // `--workspace` gives dependencies the same features as the tests do; with `--package`
    // the heavy ones would be compiled twice.
    build.args(["build", "--release", "--workspace", "--bin", "weir"]);
    process::run(build.current_dir(&workspace.root))
}

struct Environment<'a> {
    workspace: &'a Workspace,
    tools: &'a Tools,
    cranfield: Option<PathBuf>,
}

impl Environment<'_> {
    /// Runs with everything on stdout: the closing line of nextest goes to stderr by itself.
    fn run(&mut self, command: &mut Command) -> Result<()> {
        let embedding = &self.tools.embedding;
        command
            .current_dir(&self.workspace.root)
            .env("WEIR_BINARY", self.workspace.server_binary())
            .env("WEIR_COMPONENTS", self.workspace.components())
            .env("WEIR_ONNXRUNTIME_LIBRARY", &embedding.library)
            .env("WEIR_MODEL", &embedding.model)
            .env("WEIR_TOKENIZER", &embedding.tokenizer);
        if let Some(folder) = &self.cranfield {
            command.env("WEIR_CRANFIELD", folder);
        }
        command.stderr(Stdio::from(stdout().as_fd().try_clone_to_owned()?));
        process::run(command)
    }
}
