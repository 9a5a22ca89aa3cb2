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

const WEIR: &str = env!("CARGO_BIN_EXE_weir");
const PATH: &str = "test.wasm";
/// Longer than any of these tests may take.
const LONG: Duration = Duration::from_secs(120);

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

/// A component with so many functions that do so much, in its binary form, because the text would be long.
fn large(functions: usize, repeated: usize) -> Bytes {
    // local.get 0, local.get 1, i32.mul, local.tee 1, local.get 0, i32.add, local.set 0
    let some = [0x20, 0, 0x20, 1, 0x6c, 0x22, 1, 0x20, 0, 0x6a, 0x21, 0];
    // No other locals; at the end local.get 0.
    let body = [&[0][..], &some.repeat(repeated), &[0x20, 0, 0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    let count = leb(functions);
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        // (type (func (param i32 i32) (result i32)))
        section(1, &[1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f]),
        section(3, &[count.clone(), vec![0; functions]].concat()),
        section(10, &[count, body.repeat(functions)].concat()),
    ];
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module.concat())].concat().into()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// Unsigned LEB128.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A component that takes long: seconds, where the compiler is optimized.
fn slow() -> Bytes {
    large(20_000, 64)
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
        eventually(|| self.processes().is_empty());
    }

    /// Its process, if it compiles: it has limited itself and read the component, and watches the server.
    fn compiling(&self) -> Option<PathBuf> {
        let process = self.processes().pop()?;
        let threads = fs::read_dir(process.join("task")).ok()?;
        let mut names = threads.flatten().map(|thread| fs::read(thread.path().join("comm")));
        names.any(|name| name.is_ok_and(|name| name == b"weir-watch\n")).then_some(process)
    }
}

fn eventually(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LONG, "it never was");
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
    let error = compile_small(&compiler, &engines, &large(1, 600_000)).await.unwrap_err();
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
    eventually(|| program.compiling().is_some());
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
