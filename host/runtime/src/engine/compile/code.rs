//! Compiled code: what identifies it, and how an engine loads it.
//!
//! Out of scope: who compiles it (`child`), and where it is kept (`cache`).

use std::hash::{Hash as _, Hasher};

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;

use crate::engine::kind::Kind;

/// What code is compiled from and for. The same always gives the same code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CodeId {
    pub(super) kind: Kind,
    /// Hex sha-256 of the component.
    pub(super) digest: String,
    /// The fingerprint of the engine.
    pub(super) engine: String,
}

impl CodeId {
    pub(super) fn of(kind: Kind, engine: &wasmtime::Engine, component: &[u8]) -> Self {
        Self { kind, digest: digest(component), engine: fingerprint(engine) }
    }
}

/// Hex sha-256 of a component.
pub(super) fn digest(component: &[u8]) -> String {
    hex::encode(Sha256::digest(component))
}

/// Everything of an engine that its code depends on: wasmtime's version, its settings, and the processor.
pub(super) fn fingerprint(engine: &wasmtime::Engine) -> String {
    let mut hasher = Blake3(blake3::Hasher::new_derive_key("weir 2026-11-28 engine"));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.finalize().to_hex().to_string()
}

/// wasmtime gives something to hash. The standard hashers have 64 bits, and promise nothing to another build.
struct Blake3(blake3::Hasher);

impl Hasher for Blake3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
    }
}

/// Loads code.
///
/// # Safety
/// It is what wasmtime has compiled, unchanged: this process will execute it.
///
/// # Errors
/// It is for another engine, or needs more than the engine's pool has for a guest.
pub(super) unsafe fn load(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller's promise is the one that wasmtime asks for. Code of another version or
    // configuration is refused.
    unsafe { Component::deserialize(engine, code) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::engine::size::Size;
    use crate::engine::{Engines, config};

    /// Pools or their lack do not change the code; the kind does, unless only its pool differs.
    #[test]
    fn an_engine_that_only_compiles_has_the_fingerprint_of_the_one_that_runs() {
        let mut limits = config::Engine { max_concurrent_guests: 2, ..config::Engine::default() };
        limits.large.max_concurrent_guests = 1;
        let engines = Engines::new(&limits, [Size::Small, Size::Large]).unwrap();
        let pooled = [
            (Kind::Pipelines, engines.of_pipelines(Size::Small).unwrap()),
            (Kind::LargePipelines, engines.of_pipelines(Size::Large).unwrap()),
            (Kind::Policies, &engines.policies),
        ];
        let mut fingerprints = Vec::new();
        for (kind, pooled) in pooled {
            let mut config = kind.config();
            config.parallel_compilation(false);
            let compiling = wasmtime::Engine::new(&config).unwrap();
            assert!(compiling.pooling_allocator_metrics().is_none());
            assert_eq!(fingerprint(&compiling), fingerprint(pooled), "{kind:?}");
            fingerprints.push(fingerprint(pooled));
        }
        assert_ne!(fingerprints[0], fingerprints[2]);
        let mut other = Kind::Pipelines.config();
        other.cranelift_opt_level(wasmtime::OptLevel::None);
        assert_ne!(fingerprints[0], fingerprint(&wasmtime::Engine::new(&other).unwrap()));
    }
}
