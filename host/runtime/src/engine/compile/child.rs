//! The process that compiles: `weir compile`, which the server starts. It limits itself before it reads the
//! first byte of the component, and ends when the server does.
//!
//! What is compiled has been uploaded, so it may take as long and as much as its author likes, and may
//! find a fault of the compiler. Out of scope: the other side (`process`).

use std::io::{self, Read as _};
use std::process;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasmtime::OutOfMemory;
use weir_limits::priority::{Work, lower};

use super::code::{digest, fingerprint};
use super::wire::{Reply, Request, read_part};

/// Standard input, output and error. So nothing else can be opened.
const MAX_FILES: u64 = 3;
/// The exit status if the server is gone. Nobody sees it.
const NOBODY_WAITS: i32 = 3;

/// Answers the request on standard input, on standard output.
///
/// # Errors
/// There is no request, or nobody reads the reply.
pub fn run() -> io::Result<()> {
    let mut input = io::stdin();
    let request = Request::read(&mut input)?;
    let reply = match limit(&request) {
        Ok(()) => answer(&request, input)?,
        Err(error) => Reply::Failed(format!("cannot limit itself: {error}")),
    };
    reply.write(&mut io::stdout().lock())
}

fn answer(request: &Request, mut input: io::Stdin) -> io::Result<Reply> {
    let component = match read_part(&mut input, request.max_memory_bytes) {
        Ok(component) => component,
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => return Ok(Reply::NoMemory),
        Err(error) => return Err(error),
    };
    if end_with_the_server(input).is_err() {
        return Ok(Reply::NoMemory);
    }
    Ok(compile(request, &component))
}

/// What this process may use, from now on. It can never have more again.
fn limit(request: &Request) -> io::Result<()> {
    let &Request { max_memory_bytes: memory, max_cpu_seconds: seconds, .. } = request;
    for (resource, soft, hard) in [
        (Resource::Core, 0, 0),
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, MAX_FILES, MAX_FILES),
        // SIGXCPU at the one, which says what has happened, and SIGKILL at the other.
        (Resource::Cpu, seconds, seconds + 1),
        (Resource::As, memory, memory),
    ] {
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
        setrlimit(resource, limit)?;
    }
    Ok(())
}

/// Ends this process when its standard input does: the server keeps that open for as long as it waits. It
/// closes however the server ends. A signal at the parent's death (`PR_SET_PDEATHSIG`) would also come when
/// just the thread ends that has started this process.
fn end_with_the_server(mut input: io::Stdin) -> io::Result<()> {
    thread::Builder::new()
        .name("weir-watch".to_owned())
        .spawn(move || {
            // Nothing follows the component.
            let _ = input.read_exact(&mut [0]);
            process::exit(NOBODY_WAITS);
        })
        .map(drop)
}

fn compile(request: &Request, component: &[u8]) -> Reply {
    if digest(component) != request.digest {
        return Reply::Failed("the component is not the one that was announced".to_owned());
    }
    lower(Work::Long);
    let mut config = request.kind.config();
    // Threads for each core would take turns from the server, and address space for their stacks.
    config.parallel_compilation(false);
    let engine = match wasmtime::Engine::new(&config) {
        Ok(engine) => engine,
        Err(error) => return Reply::Failed(format!("wasmtime cannot be set up: {error:#}")),
    };
    if fingerprint(&engine) != request.engine {
        return Reply::Failed("it is another version of this program".to_owned());
    }
    match engine.precompile_component(component) {
        Ok(code) => Reply::Code(code),
        Err(error) if error.is::<OutOfMemory>() => Reply::NoMemory,
        Err(error) => Reply::Refused(format!("{error:#}")),
    }
}
