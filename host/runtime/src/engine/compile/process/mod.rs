//! The server's side of a process that compiles: starts it, asks it, and sees to it that it is gone
//! afterwards, whatever it does.
//!
//! Out of scope: what it is asked and how many there are at once (the module above), and what it does with its
//! own limits (`child`).

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::wire::{NoReply, Reply, Request};

/// What is kept of what it writes to standard error.
const MAX_SAID_BYTES: u64 = 4 << 10;
/// The only variable that it gets, if there is one: where its libraries are.
const NEEDED_VARIABLE: &str = "LD_LIBRARY_PATH";
/// What Rust says before it aborts, when there is no memory.
const NO_MEMORY: &str = "memory allocation of ";

/// What is started.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
}

/// Why there is no code.
#[derive(Debug)]
pub(super) enum NoCode {
    TooSlow,
    NoMemory,
    TooLong,
    /// wasmtime's reason for refusing the component.
    Refused(String),
    /// It could not be started, has died, or has not tried.
    Failed(String),
}

/// A process and its group, which end when this is dropped.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Group {
    fn kill(&self) {
        // There is no id once it has ended and been waited for, so this cannot be another's.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            // It fails only if it has ended.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// Has `component` compiled, for at most so long, to at most so much code.
pub(super) async fn run(
    program: &Program,
    request: &Request,
    component: &[u8],
    time: Duration,
    max_code_bytes: u64,
) -> Result<Vec<u8>, NoCode> {
    let failed = |error: io::Error| NoCode::Failed(format!("cannot be started: {error}"));
    let head = request.before(component).map_err(failed)?;
    let mut group = Group(start(program).map_err(failed)?);
    let ended = timeout(time, ask(&mut group, &head, component, max_code_bytes)).await;
    let (reply, status, said) = ended.map_err(|_| NoCode::TooSlow)?;
    outcome(reply, status.map_err(failed)?, &said)
}

fn start(program: &Program) -> io::Result<Child> {
    Command::new(&program.path)
        .args(&program.arguments)
        .env_clear()
        .envs(env::var_os(NEEDED_VARIABLE).map(|path| (NEEDED_VARIABLE, path)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Sends everything, and returns the reply, how the process has ended and what it said.
async fn ask(
    group: &mut Group,
    head: &[u8],
    component: &[u8],
    max_code_bytes: u64,
) -> (Result<Reply, NoReply>, io::Result<ExitStatus>, String) {
    let pipes = (group.0.stdin.take(), group.0.stdout.take(), group.0.stderr.take());
    let (Some(mut input), Some(mut output), Some(errors)) = pipes else {
        unreachable!("all three are pipes");
    };
    let talk = async {
        let send = async {
            // A process that does not read says why, or how it ended does.
            let _ = send(&mut input, head, component).await;
            Ok(())
        };
        let reply = tokio::try_join!(send, Reply::read(&mut output, max_code_bytes));
        if reply.is_err() {
            group.kill();
        }
        // `input` is open until now: the process ends when it is not.
        let status = group.0.wait().await;
        drop(input);
        (reply.map(|((), reply)| reply), status)
    };
    let ((reply, status), said) = tokio::join!(talk, beginning(errors));
    (reply, status, said)
}

async fn send(input: &mut ChildStdin, head: &[u8], component: &[u8]) -> io::Result<()> {
    input.write_all(head).await?;
    input.write_all(component).await?;
    input.flush().await
}

/// Reads everything, and keeps the beginning.
async fn beginning(mut errors: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    let _ = (&mut errors).take(MAX_SAID_BYTES).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).trim().to_owned()
}

fn outcome(
    reply: Result<Reply, NoReply>,
    status: ExitStatus,
    said: &str,
) -> Result<Vec<u8>, NoCode> {
    match reply {
        Ok(Reply::Code(code)) if status.success() => Ok(code),
        Ok(Reply::Refused(reason)) => Err(NoCode::Refused(reason)),
        Ok(Reply::NoMemory) => Err(NoCode::NoMemory),
        Ok(Reply::Failed(reason)) => Err(NoCode::Failed(reason)),
        Err(NoReply::TooLong) => Err(NoCode::TooLong),
        Ok(Reply::Code(_)) | Err(NoReply::Broken) => {
            let is = |signal: Signal| status.signal() == Some(signal.as_raw());
            Err(if is(Signal::XCPU) {
                NoCode::TooSlow
            } else if is(Signal::ABORT) && said.contains(NO_MEMORY) {
                NoCode::NoMemory
            } else if said.is_empty() {
                NoCode::Failed(format!("ended early ({status})"))
            } else {
                NoCode::Failed(format!("ended early ({status}): {said}"))
            })
        }
    }
}

#[cfg(test)]
mod tests;
