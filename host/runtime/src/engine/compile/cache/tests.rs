//! What the cache gives back, and what it makes of files that are not as it has left them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::Permissions;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::engine::component::compile;
use crate::engine::kind::Kind;
use crate::engine::size::Size;
use crate::engine::{Engines, config};

const PATH: &str = "test.wasm";
const ROOM: u64 = 1 << 30;

/// A component, by what its function returns.
fn component(returns: u8) -> Vec<u8> {
    let text = format!(
        r#"(component (core module $m (func (export "f") (result i32) i32.const {returns}))
             (core instance (instantiate $m)))"#
    );
    wat::parse_str(text).unwrap()
}

/// A cache with the code of a component, whose file is [`Kept::file`].
struct Kept {
    folder: TempDir,
    engine: wasmtime::Engine,
    cache: CodeCache,
    id: CodeId,
    code: Vec<u8>,
}

impl Kept {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(&folder.path().join("compiled"), ROOM).unwrap();
        let engine = wasmtime::Engine::new(&Kind::Policies.config()).unwrap();
        let id = CodeId::of(Kind::Policies, &engine, &component(1));
        let code = engine.precompile_component(&component(1)).unwrap();
        let kept = Self { folder, engine, cache, id, code };
        kept.keep();
        kept
    }

    fn keep(&self) {
        self.cache.keep(&self.id, &self.code);
    }

    /// Keeps the code of another component, and returns its file.
    fn keep_another(&self, returns: u8) -> PathBuf {
        let id = CodeId::of(Kind::Policies, &self.engine, &component(returns));
        let code = self.engine.precompile_component(&component(returns)).unwrap();
        self.cache.keep(&id, &code);
        self.cache.folder.join(file_name(&id))
    }

    fn reopen(&mut self, max_bytes: u64) {
        self.cache = CodeCache::open(&self.folder.path().join("compiled"), max_bytes).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.cache.folder.join(file_name(&self.id))
    }

    fn load(&self) -> Option<Component> {
        self.cache.load(&self.id, &self.engine, Path::new(PATH)).unwrap()
    }

    /// Asserts that what the file has become is not loaded but deleted, and can be kept again.
    fn assert_deleted(&self, what: &str) {
        assert!(self.load().is_none(), "{what}");
        assert!(fs::symlink_metadata(self.file()).is_err(), "{what}");
        self.keep();
        assert!(self.load().is_some(), "{what}");
    }
}

fn set_used(file: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::open(file).unwrap().set_modified(time).unwrap();
}

#[test]
fn code_is_loaded_as_it_was_kept_also_after_a_restart() {
    let mut kept = Kept::new();
    assert_eq!(kept.load().unwrap().serialize().unwrap(), kept.code);
    let unfinished = kept.file().with_extension(UNFINISHED);
    fs::write(&unfinished, "half").unwrap();
    kept.reopen(ROOM);
    assert_eq!(kept.load().unwrap().serialize().unwrap(), kept.code);
    assert!(!unfinished.exists());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&kept.cache.folder), 0o700);
    assert_eq!(mode(&kept.file()), 0o600);
    assert_eq!(mode(&kept.cache.folder.join(KEY_FILE)), 0o600);
}

#[test]
fn a_file_that_is_damaged_or_cut_off_is_a_miss_and_deleted() {
    let kept = Kept::new();
    let written = fs::read(kept.file()).unwrap();
    assert_eq!(&written[HEAD_BYTES..], kept.code);
    let last = written.len() - 1;
    for at in [0, FORMAT.len(), HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 100, last / 2, last] {
        let mut damaged = written.clone();
        damaged[at] ^= 1;
        fs::write(kept.file(), damaged).unwrap();
        kept.assert_deleted(&format!("byte {at}"));
    }
    for length in [0, 1, FORMAT.len(), HEAD_BYTES - 1, HEAD_BYTES, last] {
        fs::write(kept.file(), &written[..length]).unwrap();
        kept.assert_deleted(&format!("{length} bytes"));
    }
    fs::write(kept.file(), [&written[..], &[0]].concat()).unwrap();
    kept.assert_deleted("one byte more");
    let elsewhere = kept.folder.path().join("elsewhere");
    fs::rename(kept.file(), &elsewhere).unwrap();
    symlink(&elsewhere, kept.file()).unwrap();
    kept.assert_deleted("a link");
    assert!(elsewhere.exists());
}

#[test]
fn a_file_in_the_place_of_another_is_a_miss_and_deleted() {
    let kept = Kept::new();
    let another = kept.keep_another(2);
    fs::copy(another, kept.file()).unwrap();
    kept.assert_deleted("another component's");
}

#[test]
fn a_file_of_another_host_is_a_miss_and_deleted() {
    let (kept, other) = (Kept::new(), Kept::new());
    assert_eq!(file_name(&kept.id), file_name(&other.id));
    fs::copy(other.file(), kept.file()).unwrap();
    kept.assert_deleted("another host's");
}

#[test]
fn a_key_that_others_could_read_or_that_is_none_is_replaced() {
    for damage in [
        |key: &Path| fs::set_permissions(key, Permissions::from_mode(0o640)).unwrap(),
        |key: &Path| fs::write(key, "short").unwrap(),
        |key: &Path| fs::remove_file(key).unwrap(),
    ] {
        let mut kept = Kept::new();
        let before = kept.cache.key;
        damage(&kept.cache.folder.join(KEY_FILE));
        kept.reopen(ROOM);
        assert_ne!(kept.cache.key, before);
        kept.assert_deleted("written with another key");
        let after = kept.cache.key;
        kept.reopen(ROOM);
        assert_eq!(kept.cache.key, after);
    }
}

#[test]
fn code_of_another_engine_is_not_loaded() {
    let kept = Kept::new();
    let other = wasmtime::Engine::new(&Kind::Pipelines.config()).unwrap();
    let path = Path::new(PATH);
    for kind in [Kind::Policies, Kind::Pipelines] {
        let id = CodeId::of(kind, &other, &component(1));
        assert!(kept.cache.load(&id, &other, path).unwrap().is_none(), "{kind:?}");
    }
    assert!(kept.load().is_some(), "it is untouched");
    // Even if it were written under the right name, wasmtime would see it.
    for code in [other.precompile_component(&component(1)).unwrap(), b"no code".to_vec()] {
        kept.cache.keep(&kept.id, &code);
        kept.assert_deleted("another engine's, or none");
    }
}

#[test]
fn what_was_not_used_for_longest_makes_room() {
    let mut kept = Kept::new();
    let bytes = fs::metadata(kept.file()).unwrap().len();
    kept.reopen(bytes * 5 / 2);
    let second = kept.keep_another(2);
    set_used(&kept.file(), 1);
    set_used(&second, 2);
    assert!(kept.load().is_some(), "which uses it");
    let third = kept.keep_another(3);
    assert!(kept.file().exists() && !second.exists() && third.exists());
    // The operator allows less.
    set_used(&kept.file(), 3);
    set_used(&third, 4);
    kept.reopen(bytes * 3 / 2);
    assert!(!kept.file().exists() && third.exists());
    kept.reopen(bytes / 2);
    kept.keep();
    assert!(!kept.file().exists() && !third.exists());
}

#[test]
fn what_cannot_be_written_is_not_kept_and_nothing_else() {
    let kept = Kept::new();
    fs::remove_file(kept.file()).unwrap();
    fs::create_dir(kept.file()).unwrap();
    kept.keep();
    assert!(!kept.file().with_extension(UNFINISHED).exists());
    assert!(kept.load().is_none());
}

#[test]
fn a_component_that_does_not_fit_the_pool_any_more_is_refused_as_when_it_is_compiled() {
    let text = "(component (core module $m (memory 1)) (core instance (instantiate $m))
                  (core instance (instantiate $m)) (core instance (instantiate $m)))";
    let three_memories = wat::parse_str(text).unwrap();
    let limits = config::Engine { max_concurrent_guests: 1, ..config::Engine::default() };
    let engines = Engines::new(&limits, []).unwrap();
    let pooled = engines.of_pipelines(Size::Small).unwrap();
    let path = Path::new(PATH);
    let compiled = compile(pooled, path, &three_memories).map(drop).unwrap_err();
    assert!(matches!(compiled, LoadError::NeedsMore { .. }), "{compiled}");

    let kept = Kept::new();
    let id = CodeId::of(Kind::Pipelines, pooled, &three_memories);
    let on_demand = wasmtime::Engine::new(&Kind::Pipelines.config()).unwrap();
    kept.cache.keep(&id, &on_demand.precompile_component(&three_memories).unwrap());
    let loaded = kept.cache.load(&id, pooled, path).map(drop).unwrap_err();
    assert_eq!(loaded.to_string(), compiled.to_string());
    assert!(kept.cache.load(&id, &on_demand, path).unwrap().is_some(), "it is still there");
}
