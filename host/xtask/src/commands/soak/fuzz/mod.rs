//! `cargo xtask soak fuzz`: gives what reads the shared tier bytes that nobody would think of.
//!
//! The targets are the workspace `host/cache/fuzz`. It is compiled as cargo-fuzz does it without a
//! sanitizer, which needs neither that tool nor a nightly compiler: all code that is checked is safe Rust.
//! [`libfuzzer`] reads what libFuzzer says.
//!
//! Out of scope: what must hold of the inputs, which `weir_cache::fuzzing` says.

mod libfuzzer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use self::libfuzzer::Outcome;
use crate::workspace::Workspace;
use crate::{process, set_up};

/// The binaries of the workspace with the targets, and the folders of its corpus.
const TARGETS: [&str; 2] = ["envelope", "record"];
/// Named, so that build scripts and macros are compiled without the flags.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// Those of cargo-fuzz with `--sanitizer none`.
const RUSTFLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// What separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: &str = "\x1f";
/// An input that takes longer is a finding. Most take some microseconds.
const MAX_INPUT_SECONDS: u64 = 10;
const MAX_RESIDENT_MIB: u64 = 1024;

/// Look for bytes that break what reads the shared tier, guided by coverage
///
/// Changes the envelopes and records of host/cache/fuzz/corpus again and again, and keeps what runs
/// code that nothing before has run. As a store may return them, as a faulty node of the same truth
/// would seal them, and under another key: nothing may panic, allocate more than an input may cost, open
/// without the seal, or decode to something that cannot be encoded again.
///
/// Fails with the file of the first input that breaks this. What is found on the way, and what
/// libFuzzer says, is in soak/fuzz/ in the target folder, and the next run goes on from there.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Fuzz {
    /// Seconds for which each target runs
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

impl Fuzz {
    pub(super) fn run(&self) -> Result<()> {
        set_up::cpp_compiler()?;
        let workspace = Workspace::find()?;
        let built = build(&workspace)?;
        for name in TARGETS {
            println!("{name}: {} s …", self.seconds);
            let target = Target::new(&workspace, &built, name);
            println!("{name}: {}", target.run(self.seconds)?);
        }
        Ok(())
    }
}

/// Builds the targets, and returns the folder that they are in.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("weir-fuzz");
    let mut build = process::cargo();
    build.args(["build", "--release", "--bins", "--target", TRIPLE]);
    build.arg("--manifest-path").arg(workspace.fuzz_manifest());
    build.arg("--target-dir").arg(&folder);
    build.env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join(SEPARATOR));
    process::run(&mut build)?;
    Ok(folder.join(TRIPLE).join("release"))
}

/// A fuzz target, and its files.
struct Target {
    name: &'static str,
    binary: PathBuf,
    /// The inputs in the repository. They are only read.
    corpus: PathBuf,
    /// The inputs that runs on this machine have kept.
    kept: PathBuf,
    crash: PathBuf,
    log: PathBuf,
}

impl Target {
    fn new(workspace: &Workspace, built: &Path, name: &'static str) -> Self {
        let here = workspace.target.join("soak/fuzz").join(name);
        Self {
            name,
            binary: built.join(name),
            corpus: workspace.fuzz_manifest().with_file_name("corpus").join(name),
            kept: here.join("corpus"),
            crash: here.join("crash"),
            log: here.join("log.txt"),
        }
    }

    fn run(&self, seconds: u64) -> Result<Outcome> {
        fs::create_dir_all(&self.kept)
            .with_context(|| format!("creating {}", self.kept.display()))?;
        if self.crash.exists() {
            fs::remove_file(&self.crash)?;
        }
        let log =
            File::create(&self.log).with_context(|| format!("creating {}", self.log.display()))?;
        let status = self.command(seconds).stdout(Stdio::null()).stderr(log).status();
        let status = status.with_context(|| format!("starting {}", self.binary.display()))?;
        let (name, log) = (self.name, self.log.display());
        if self.crash.exists() {
            let (binary, crash) = (self.binary.display(), self.crash.display());
            bail!(
                "{name}: an input breaks a rule: {crash}\nSee {log}, and run it again with \
                 `{binary} {crash}`. When it is mended, keep the input in {}",
                self.corpus.display()
            );
        }
        if !status.success() {
            bail!("{name}: libFuzzer ended with {status}; see {log}");
        }
        let said = fs::read_to_string(&self.log)?;
        Outcome::read(&said).with_context(|| format!("{name}: see {log}"))
    }

    fn command(&self, seconds: u64) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-timeout={MAX_INPUT_SECONDS}"))
            .arg(format!("-rss_limit_mb={MAX_RESIDENT_MIB}"))
            .arg(format!("-exact_artifact_path={}", self.crash.display()))
            .arg("-print_final_stats=1")
            // What it finds goes into the first folder.
            .args([&self.kept, &self.corpus]);
        command
    }
}
