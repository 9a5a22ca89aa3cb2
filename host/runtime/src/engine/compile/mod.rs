//! Compiles components from outside, in a process of their own, and keeps compiled code.
//!
//! wasmtime promises nothing of what compiling costs, and cannot be interrupted. So what somebody uploads is
//! compiled by a `child` that has limits, which a `process` of the server starts and ends; they speak
//! through pipes (`wire`). What the operator names in the configuration is compiled in this process
//! ([`compile_here`]). Both leave their `code` in the same `cache`. Out of scope: what a component may import
//! and must export (`pipeline`, `policy`).

mod cache;
mod child;
mod code;
mod process;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::{debug, info};
use wasmtime::component::Component;

use super::component::{LoadError, check_header, compile, refused};
use super::config;
use super::kind::Kind;
use code::CodeId;
use process::{NoCode, Program};
use wire::Request;

pub use cache::CodeCache;
pub use child::run as run_child;

/// The subcommand of the program that compiles.
const SUBCOMMAND: &str = "compile";
/// The most components that wait for their turn. Further ones are refused at once.
const MAX_WAITING: usize = 16;
/// The most code of a component: so many bytes for each of its own, because machine code is longer than wasm.
const MAX_CODE_BYTES_PER_BYTE: u64 = 8;
/// The most code of any component, however small: it may say "copy this ten times".
const LEAST_MAX_CODE_BYTES: u64 = 64 << 20;

/// Compiles components in processes of their own.
pub struct Compiler {
    program: Program,
    limits: config::Compile,
    cache: Option<Arc<CodeCache>>,
    /// How many compile at once.
    turns: Semaphore,
    /// How many compile or wait.
    room: Semaphore,
}

/// Why a component has not been compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// It is not one that this host can run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It takes too long.
    #[error("{path} takes too long to compile: more than {max_ms} ms ({key})")]
    TooSlow {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_ms: u64,
        /// The key of the configuration that says so.
        key: &'static str,
    },
    /// It takes too much memory.
    #[error("{path} takes too much memory to compile: more than {max_bytes} bytes ({key})")]
    TooMuchMemory {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: u64,
        /// The key of the configuration that says so.
        key: &'static str,
    },
    /// Its code is too long.
    #[error("{path} compiles to more than {max_bytes} bytes of code")]
    TooMuchCode {
        /// The file.
        path: PathBuf,
        /// The limit.
        max_bytes: u64,
    },
    /// The process that compiles it could not be started, or has died.
    #[error("{path} has not been compiled: the process that compiles it {reason}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What has happened to it.
        reason: String,
    },
    /// Others are compiled.
    #[error("{path} has not been compiled: too many others are. Try again later")]
    Busy {
        /// The file.
        path: PathBuf,
    },
}

/// What one component may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    time_ms: u64,
    time_key: &'static str,
    memory_bytes: u64,
    memory_key: &'static str,
}

impl Limits {
    fn of(limits: &config::Compile, kind: Kind) -> Self {
        match kind {
            Kind::Pipelines | Kind::Policies => Self {
                time_ms: limits.timeout_ms,
                time_key: "engine.compile.timeout_ms",
                memory_bytes: limits.max_memory_bytes,
                memory_key: "engine.compile.max_memory_bytes",
            },
            Kind::LargePipelines => Self {
                time_ms: limits.large_timeout_ms,
                time_key: "engine.compile.large_timeout_ms",
                memory_bytes: limits.large_max_memory_bytes,
                memory_key: "engine.compile.large_max_memory_bytes",
            },
        }
    }

    fn time(&self) -> Duration {
        Duration::from_millis(self.time_ms)
    }
}

impl Compiler {
    /// Compiles by this program's subcommand `compile`, which calls [`run_child`].
    #[must_use]
    pub fn new(program: PathBuf, limits: config::Compile, cache: Option<Arc<CodeCache>>) -> Self {
        Self {
            program: Program { path: program, arguments: vec![SUBCOMMAND.into()] },
            cache,
            turns: Semaphore::new(limits.max_concurrent),
            room: Semaphore::new(limits.max_concurrent + MAX_WAITING),
            limits,
        }
    }

    /// Compiles a component for an engine of this kind, or loads its code if that is kept. `path` is for
    /// errors. Dropping the future ends the process.
    ///
    /// # Errors
    /// It is not a component that the engine can run, it takes more than it may to compile, others are
    /// compiled for too long, or the process fails.
    pub async fn compile(
        &self,
        kind: Kind,
        engine: &wasmtime::Engine,
        path: &Path,
        bytes: &Bytes,
    ) -> Result<Component, CompileError> {
        check_header(path, bytes)?;
        let of = Work { kind, engine: engine.clone(), path: path.to_owned(), bytes: bytes.clone() };
        let id = blocking(of.clone(), |of| Ok(of.id())).await?;
        if let Some(component) = self.kept(&of, &id).await? {
            return Ok(component);
        }
        let limits = Limits::of(&self.limits, kind);
        let _turn = self.turn(&of.path, limits.time()).await?;
        // Another may have compiled the same meanwhile.
        if let Some(component) = self.kept(&of, &id).await? {
            return Ok(component);
        }
        let started = Instant::now();
        let code = self.code(&of, &id, &limits).await?;
        info!(
            component = %path.display(),
            milliseconds = started.elapsed().as_millis() as u64,
            "compiled"
        );
        let cache = self.cache.clone();
        blocking(of, move |of| {
            // SAFETY: this is what wasmtime has compiled: the process that wrote it runs this server's own
            // program, has no other input than the component, and has ended without an error.
            let component = unsafe { code::load(&of.engine, &code) }
                .map_err(|error| of.refused(format!("{error:#}")))?;
            if let Some(cache) = cache {
                cache.keep(&id, &code);
            }
            Ok(component)
        })
        .await
    }

    async fn kept(&self, of: &Work, id: &CodeId) -> Result<Option<Component>, CompileError> {
        let Some(cache) = self.cache.clone() else { return Ok(None) };
        let id = id.clone();
        let load = move |of: Work| {
            let loaded = cache.load(&id, &of.engine, &of.path);
            loaded.map_err(|error| CompileError::Load(of.with_advice(error)))
        };
        blocking(of.clone(), load).await
    }

    /// Waits for a turn, for as long as compiling may take.
    async fn turn(&self, path: &Path, patience: Duration) -> Result<Turn<'_>, CompileError> {
        let busy = || CompileError::Busy { path: path.to_owned() };
        let room = self.room.try_acquire().map_err(|_| busy())?;
        match timeout(patience, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(Turn { _room: room, _turn: turn }),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    async fn code(&self, of: &Work, id: &CodeId, limits: &Limits) -> Result<Vec<u8>, CompileError> {
        let request = Request {
            kind: id.kind,
            digest: id.digest.clone(),
            engine: id.engine.clone(),
            max_memory_bytes: limits.memory_bytes,
            max_cpu_seconds: limits.time_ms.div_ceil(1_000),
        };
        let max_code_bytes =
            (of.bytes.len() as u64 * MAX_CODE_BYTES_PER_BYTE).max(LEAST_MAX_CODE_BYTES);
        let run = process::run(&self.program, &request, &of.bytes, limits.time(), max_code_bytes);
        let path = of.path.clone();
        run.await.map_err(|error| match error {
            NoCode::Refused(reason) => of.refused(reason),
            NoCode::Failed(reason) => CompileError::Failed { path, reason },
            NoCode::TooLong => CompileError::TooMuchCode { path, max_bytes: max_code_bytes },
            NoCode::TooSlow => {
                CompileError::TooSlow { path, max_ms: limits.time_ms, key: limits.time_key }
            }
            NoCode::NoMemory => {
                let (max_bytes, key) = (limits.memory_bytes, limits.memory_key);
                CompileError::TooMuchMemory { path, max_bytes, key }
            }
        })
    }
}

/// A turn to compile.
struct Turn<'a> {
    _room: SemaphorePermit<'a>,
    _turn: SemaphorePermit<'a>,
}

/// What is compiled. Clones share it.
#[derive(Clone)]
struct Work {
    kind: Kind,
    engine: wasmtime::Engine,
    path: PathBuf,
    bytes: Bytes,
}

impl Work {
    fn id(&self) -> CodeId {
        CodeId::of(self.kind, &self.engine, &self.bytes)
    }

    fn refused(&self, reason: String) -> CompileError {
        CompileError::Load(self.with_advice(refused(&self.path, reason)))
    }

    fn with_advice(&self, error: LoadError) -> LoadError {
        match self.kind.size() {
            Some(size) => error.with_advice(size),
            None => error,
        }
    }
}

/// Does what takes long apart from the runtime's workers.
async fn blocking<T: Send + 'static>(
    of: Work,
    run: impl FnOnce(Work) -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    let path = of.path.clone();
    spawn_blocking(move || run(of)).await.unwrap_or_else(|error| {
        let reason = format!("has done its part, but the server's failed: {error}");
        Err(CompileError::Failed { path, reason })
    })
}

/// Compiles a component in this process, or loads its code if that is kept. Only for components that the
/// operator trusts not to take too long.
///
/// # Errors
/// As [`compile`].
pub fn compile_here(
    cache: Option<&CodeCache>,
    kind: Kind,
    engine: &wasmtime::Engine,
    path: &Path,
    bytes: &[u8],
) -> Result<Component, LoadError> {
    let Some(cache) = cache else { return compile(engine, path, bytes) };
    check_header(path, bytes)?;
    let id = CodeId::of(kind, engine, bytes);
    if let Some(component) = cache.load(&id, engine, path)? {
        return Ok(component);
    }
    let component = compile(engine, path, bytes)?;
    match component.serialize() {
        Ok(code) => cache.keep(&id, &code),
        Err(error) => debug!(component = %path.display(), "its code cannot be kept: {error:#}"),
    }
    Ok(component)
}

/// This program, as it runs now: the file may have been replaced.
///
/// # Errors
/// The operating system does not say.
pub fn this_program() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() { Ok(running.to_owned()) } else { std::env::current_exe() }
}

#[cfg(test)]
mod tests;
