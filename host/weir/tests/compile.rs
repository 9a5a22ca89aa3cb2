//! `weir compile`, started by the runtime's `Compiler`: the real program compiles, keeps to its limits, and is
//! gone when nobody waits for it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;
use weir_runtime::engine::Engines;
use weir_runtime::engine::compile::{CodeCache, CompileError, Compiler, compile_here};
use weir_runtime::engine::config::{self, Compile};
use weir_runtime::engine::kind::Kind;
use weir_runtime::engine::size::Size;
use weir_test_components::bomb;

const WEIR: &str = env!("CARGO_BIN_EXE_weir");
const PATH: &str = "test.wasm";
/// Longer than any of these tests may take.
const LONG: Duration = Duration::from_secs(120);
/// A process that is ended has ended by then, and one that compiles [`slow`] has not, if nobody ends it.
const SOON: Duration = Duration::from_secs(10);

fn engines() -> Engines {
    let mut limits = config::Engine {
        max_concurrent_guests: 2,
        max_concurrent_decisions: 2,
        ..config::Engine::default()
    };
    limits.large.max_concurrent_guests = 1;
    Engines::new(&limits, [Size::Large]).unwrap()
}

fn compiler(limits: Compile, cache: Option<Arc<CodeCache>>) -> Compiler {
    Compiler::new(PathBuf::from(WEIR), limits, cache)
}

fn component(text: &str) -> Bytes {
    wat::parse_str(text).unwrap().into()
}

/// Some code, with a memory, a table and data.
fn small() -> Bytes {
    component(
        r#"(component (core module $m
             (memory (export "memory") 1) (data (i32.const 8) "some data")
             (table 2 funcref) (elem (i32.const 0) $double)
             (func $double (export "double") (param i32) (result i32)
               (i32.mul (local.get 0) (i32.const 2))))
           (core instance $i (instantiate $m))
           (func (export "double") (param "n" u32) (result u32)
             (canon lift (core func $i "double"))))"#,
    )
}

/// A component that takes long: much longer than [`SOON`], also where the compiler is optimized.
fn slow() -> Bytes {
    bomb(20_000, 128).into()
}

/// A program of its own name, which its processes can be told by.
struct Named {
    folder: TempDir,
}

impl Named {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(WEIR, folder.path().join("weir")).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("weir")
    }

    /// Its processes that run.
    fn processes(&self) -> Vec<PathBuf> {
        let name = format!("{}\0compile\0", self.path().display());
        let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        entries
            .filter(|p| fs::read(p.join("cmdline")).is_ok_and(|c| c == name.as_bytes()))
            .collect()
    }

    fn has_ended(&self) {
        within(SOON, || self.processes().is_empty());
    }

    /// Its process, if it compiles: it has limited itself and read the component, and watches the server.
    fn compiling(&self) -> Option<PathBuf> {
        let process = self.processes().pop()?;
        let threads = fs::read_dir(process.join("task")).ok()?;
        let mut names = threads.flatten().map(|thread| fs::read(thread.path().join("comm")));
        names.any(|name| name.is_ok_and(|name| name == b"weir-watch\n")).then_some(process)
    }
}

fn within(time: Duration, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < time, "it was not so within {time:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

async fn compile_small(
    compiler: &Compiler,
    engines: &Engines,
    bytes: &Bytes,
) -> Result<(), CompileError> {
    let engine = engines.of_pipelines(Size::Small).unwrap();
    compiler.compile(Kind::Pipelines, engine, Path::new(PATH), bytes).await.map(drop)
}

#[tokio::test]
async fn code_is_the_same_as_if_the_server_had_compiled_it() {
    let engines = engines();
    let compiler = compiler(Compile::default(), None);
    for (kind, engine) in [
        (Kind::Pipelines, engines.of_pipelines(Size::Small).unwrap()),
        (Kind::LargePipelines, engines.of_pipelines(Size::Large).unwrap()),
        (Kind::Policies, &engines.policies),
    ] {
        let path = Path::new(PATH);
        let there = compiler.compile(kind, engine, path, &small()).await.unwrap();
        let here = compile_here(None, kind, engine, path, &small()).unwrap();
        assert!(there.serialize().unwrap() == here.serialize().unwrap(), "{kind:?}");
    }
}

#[tokio::test]
async fn what_the_server_would_refuse_is_refused_for_the_same_reason() {
    let engines = engines();
    let compiler = compiler(Compile::default(), None);
    let path = Path::new(PATH);
    let three_memories = component(
        "(component (core module $m (memory 1)) (core instance (instantiate $m))
           (core instance (instantiate $m)) (core instance (instantiate $m)))",
    );
    let mut garbage = small()[..8].to_vec();
    garbage.extend((0..1_000_u32).map(|n| (n * n % 251) as u8));
    let half = small().slice(..small().len() / 2);
    let engine = engines.of_pipelines(Size::Small).unwrap();
    for bytes in [three_memories, garbage.into(), half] {
        let there = compile_small(&compiler, &engines, &bytes).await.unwrap_err();
        let here = compile_here(None, Kind::Pipelines, engine, path, &bytes).map(drop).unwrap_err();
        assert!(matches!(there, CompileError::Load(_)), "{there}");
        assert_eq!(there.to_string(), here.with_advice(Size::Small).to_string());
    }
    // A pipeline as a policy: policies have no asynchronous functions.
    let text = r#"(component (import "f" (func async)))"#;
    let there = compiler.compile(Kind::Policies, &engines.policies, path, &component(text)).await;
    let there = there.map(drop).unwrap_err().to_string();
    assert!(there.contains("component model async"), "{there}");
}

#[tokio::test]
async fn one_that_takes_too_long_is_ended() {
    let (engines, program) = (engines(), Named::new());
    let limits = Compile { timeout_ms: 1_000, ..Compile::default() };
    let compiler = Compiler::new(program.path(), limits, None);
    let error = compile_small(&compiler, &engines, &slow()).await.unwrap_err();
    assert!(matches!(error, CompileError::TooSlow { max_ms: 1_000, .. }), "{error}");
    program.has_ended();
}

#[tokio::test]
async fn one_that_takes_too_much_memory_is_ended() {
    let (engines, program) = (engines(), Named::new());
    let limits = Compile { max_memory_bytes: 256 << 20, timeout_ms: 300_000, ..Compile::default() };
    let compiler = Compiler::new(program.path(), limits, None);
    compile_small(&compiler, &engines, &small()).await.unwrap();
    // As long as a function may be.
    let error = compile_small(&compiler, &engines, &bomb(1, 600_000).into()).await.unwrap_err();
    let is_memory = matches!(error, CompileError::TooMuchMemory { max_bytes: 268_435_456, .. });
    assert!(is_memory, "{error}");
    program.has_ended();
}

#[tokio::test]
async fn one_is_limited_while_it_compiles_and_ended_when_nobody_waits_for_it() {
    let (engines, program) = (engines(), Named::new());
    let compiler = Compiler::new(program.path(), Compile::default(), None);
    let compiling = tokio::spawn(async move { compile_small(&compiler, &engines, &slow()).await });
    // The runtime of this test has one thread.
    let process = loop {
        if let Some(process) = program.compiling() {
            break process;
        }
        assert!(!compiling.is_finished());
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let limits = fs::read_to_string(process.join("limits")).unwrap();
    for (what, soft, hard) in [
        ("Max cpu time", "30", "31"),
        ("Max file size", "0", "0"),
        ("Max core file size", "0", "0"),
        ("Max open files", "3", "3"),
        ("Max address space", "1073741824", "1073741824"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        let mut has = line.split_whitespace();
        assert_eq!((has.next(), has.next()), (Some(soft), Some(hard)), "{what}");
    }
    let environment = fs::read_to_string(process.join("environ")).unwrap();
    let mut variables = environment.split_terminator('\0');
    assert!(variables.all(|one| one.starts_with("LD_LIBRARY_PATH=")), "{environment}");
    compiling.abort();
    assert!(compiling.await.is_err());
    program.has_ended();
}

#[test]
fn one_ends_when_the_server_is_killed() {
    let program = Named::new();
    let mut server = Command::new(std::env::current_exe().unwrap())
        .args(["a_server_that_compiles", "--exact", "--ignored"])
        .env(PROGRAM, program.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    within(LONG, || program.compiling().is_some());
    server.kill().unwrap();
    server.wait().unwrap();
    program.has_ended();
}

/// Where [`a_server_that_compiles`] finds its program.
const PROGRAM: &str = "WEIR_TEST_PROGRAM";

#[tokio::test]
#[ignore = "it is what the test above kills"]
async fn a_server_that_compiles() {
    let Some(program) = std::env::var_os(PROGRAM) else { return };
    let compiler = Compiler::new(program.into(), Compile::default(), None);
    let _ = compile_small(&compiler, &engines(), &slow()).await;
}

#[tokio::test]
async fn code_is_kept_for_the_next_server() {
    let (engines, folder) = (engines(), tempfile::tempdir().unwrap());
    let cache = || Some(Arc::new(CodeCache::open(folder.path(), 1 << 30).unwrap()));
    compile_small(&compiler(Compile::default(), cache()), &engines, &small()).await.unwrap();
    let nothing = Compiler::new("/nowhere/weir".into(), Compile::default(), cache());
    compile_small(&nothing, &engines, &small()).await.unwrap();
    let error = compile_small(&nothing, &engines, &component("(component)")).await.unwrap_err();
    assert!(matches!(error, CompileError::Failed { .. }), "{error}");
}

#[test]
fn it_is_not_for_people() {
    let help = Command::new(WEIR).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("serve") && !help.contains("  compile"), "{help}");
    let by_hand = Command::new(WEIR).arg("compile").stdin(Stdio::null()).output().unwrap();
    let says = String::from_utf8(by_hand.stderr).unwrap();
    assert!(!by_hand.status.success() && says.contains("is for `weir serve` alone"), "{says}");
}
