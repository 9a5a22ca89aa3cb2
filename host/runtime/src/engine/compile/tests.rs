//! Who gets a turn, and what needs none. What the process does is tested with the real program in
//! `host/weir/tests/compile.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

const PATH: &str = "test.wasm";

fn engine() -> wasmtime::Engine {
    wasmtime::Engine::new(&Kind::Policies.config()).unwrap()
}

fn component(text: &str) -> Bytes {
    wat::parse_str(text).unwrap().into()
}

/// A compiler whose program is this shell script.
fn compiler(script: &str, timeout_ms: u64, cache: Option<Arc<CodeCache>>) -> Compiler {
    let limits = config::Compile { timeout_ms, ..config::Compile::default() };
    let program = Program { path: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
    Compiler { program, ..Compiler::new(PathBuf::new(), limits, cache) }
}

async fn compile_by(compiler: &Compiler, bytes: &Bytes) -> Result<Component, CompileError> {
    compiler.compile(Kind::Policies, &engine(), Path::new(PATH), bytes).await
}

#[tokio::test]
async fn what_is_no_component_starts_no_process() {
    let compiler = compiler("exit 1", 1_000, None);
    let module = wat::parse_str("(module)").unwrap().into();
    for bytes in [module, Bytes::from_static(b"(component)"), Bytes::new()] {
        let error = compile_by(&compiler, &bytes).await.map(drop).unwrap_err();
        assert!(matches!(error, CompileError::Load(LoadError::NotAComponent { .. })), "{error}");
        let here = compile_here(None, Kind::Policies, &engine(), Path::new(PATH), &bytes);
        assert_eq!(error.to_string(), here.map(drop).unwrap_err().to_string());
    }
}

#[tokio::test]
async fn code_that_is_kept_needs_neither_process_nor_turn() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Arc::new(CodeCache::open(folder.path(), 1 << 30).unwrap());
    let bytes = component("(component)");
    let compiler = compiler("exit 1", 1_000, Some(Arc::clone(&cache)));
    let error = compile_by(&compiler, &bytes).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("ended early (exit status: 1)"), "{error}");
    let path = Path::new(PATH);
    compile_here(Some(&cache), Kind::Policies, &engine(), path, &bytes).unwrap();
    let _all = compiler.turns.try_acquire().unwrap();
    compile_by(&compiler, &bytes).await.unwrap();
}

#[tokio::test]
async fn whoever_waits_too_long_or_finds_too_many_waiting_is_refused() {
    let compiler = Arc::new(compiler("sleep 1000", 500, None));
    let bytes = component("(component)");
    let turn = compiler.turns.try_acquire().unwrap();
    let error = compile_by(&compiler, &bytes).await.map(drop).unwrap_err();
    assert!(matches!(error, CompileError::Busy { .. }), "{error}");
    let room = compiler.room.try_acquire_many(MAX_WAITING as u32 + 1).unwrap();
    drop(turn);
    let error = compile_by(&compiler, &bytes).await.map(drop).unwrap_err();
    assert!(matches!(error, CompileError::Busy { .. }), "{error}");
    drop(room);
    let error = compile_by(&compiler, &bytes).await.map(drop).unwrap_err();
    assert!(matches!(error, CompileError::TooSlow { max_ms: 500, .. }), "{error}");
    assert!(error.to_string().contains("engine.compile.timeout_ms"), "{error}");
    assert_eq!(compiler.turns.available_permits(), 1);
}

#[tokio::test]
async fn a_turn_is_free_when_nobody_waits_for_its_component() {
    let compiler = Arc::new(compiler("sleep 1000", 60_000, None));
    let first = Arc::clone(&compiler);
    let first = tokio::spawn(async move {
        let _ = compile_by(&first, &component("(component)")).await;
    });
    while compiler.turns.available_permits() == 1 {
        tokio::task::yield_now().await;
    }
    first.abort();
    assert!(first.await.is_err());
    assert_eq!(compiler.turns.available_permits(), 1);
}
