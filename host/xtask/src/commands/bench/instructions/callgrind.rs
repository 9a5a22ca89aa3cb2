//! Runs a server under valgrind's callgrind, and counts the instructions of one answer.
//!
//! Counts of the same binary must not vary, so:
//!
//! - Each runtime has one worker thread.
//! - There is one connection, and it sends a request only when all threads of the server sleep. A
//!   request that arrives before the server waits for it saves a system call, which is up to
//!   chance.
//! - Instructions are counted between two dumps, which leaves out the server's start.
//! - The figure is the median of several counts, because timers fire during some of them.
//!
//! Instructions of the kernel are not counted.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

use crate::commands::bench::cases::Case;
use crate::commands::bench::questions::body;
use crate::commands::bench::side::{Side, target};
use crate::commands::bench::statistics::Spread;
use crate::process;
use crate::server::Server;
use crate::traffic::connection::{Connection, request};

/// Few enough that the pool of instances fits into the address space that valgrind leaves. With
/// more, the server would run without a pool, unlike any real server.
const GUESTS: u32 = 4;
/// How many different questions are asked, in turn.
const KEYS: usize = 64;
/// How often each question is asked before counting, to fill caches.
const WARM_UP: usize = 4;
const COUNTS: usize = 9;
/// A server that is busy for longer than this after an answer will not become idle.
const REST_TIMEOUT: Duration = Duration::from_secs(30);

/// A server whose instructions are counted.
pub(super) struct Callgrind {
    server: Server,
    folder: TempDir,
    dumps: usize,
}

impl Callgrind {
    /// Starts a server, which takes about ten times as long as without valgrind.
    pub(super) async fn start(side: &Side) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the server")?;
        let mut out = std::ffi::OsString::from("--callgrind-out-file=");
        out.push(folder.path().join("out"));
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--instr-atstart=no"])
            .arg(out)
            .arg(&side.binary)
            .env("TOKIO_WORKER_THREADS", "1");
        let side = side.clone().with_guests(GUESTS)?;
        let server = side.start_by(command, &folder.path().join("server")).await?;
        let mut this = Self { server, folder, dumps: 0 };
        this.tell(&["instrumentation", "on"])?;
        // The first dump is not used. It shows whether valgrind accepts commands at all.
        this.dump()?;
        Ok(this)
    }

    /// Counts the instructions of one answer. Each count is an average over `answers` answers.
    pub(super) async fn count(&mut self, case: &Case, answers: usize) -> Result<Spread> {
        let target = target(&self.server)?;
        let mut connection = Connection::open(target.address).await?;
        let requests: Vec<String> =
            (0..KEYS).map(|key| request(case.path, &body(key, case.mode))).collect();
        let mut requests = requests.iter().cycle();
        let mut ask = async |answers: usize| -> Result<u64> {
            let hits = connection.counted.hits;
            for request in requests.by_ref().take(answers) {
                rest(target.process).await?;
                connection.ask(request.as_bytes()).await?;
            }
            rest(target.process).await?;
            Ok(connection.counted.hits - hits)
        };
        ask(WARM_UP * KEYS).await?;
        self.dump()?;
        let mut counts = Vec::new();
        for _ in 0..COUNTS {
            let hits = ask(answers).await?;
            ensure!(
                hits == if case.is_hit { answers as u64 } else { 0 },
                "{}: {hits} of {answers} answers came from the cache",
                case.name
            );
            counts.push(self.dump()? as f64 / answers as f64);
        }
        Ok(Spread::of(counts))
    }

    /// Stops the server.
    pub(super) async fn stop(self) -> Result<()> {
        self.server.stop().await
    }

    /// Dumps and returns the number of instructions since the last dump.
    fn dump(&mut self) -> Result<u64> {
        self.tell(&["dump"])?;
        self.dumps += 1;
        let file = self.dump_file();
        let text = fs::read_to_string(&file)
            .with_context(|| format!("callgrind did not write {}", file.display()))?;
        total(&text).with_context(|| format!("{} has no line `totals:`", file.display()))
    }

    fn dump_file(&self) -> PathBuf {
        self.folder.path().join(format!("out.{}", self.dumps))
    }

    fn tell(&self, words: &[&str]) -> Result<()> {
        let mut command = std::process::Command::new("vgdb");
        command.arg(format!("--pid={}", self.server.id()?)).args(words);
        process::output(&mut command).map(drop).context(
            "cannot send a command to valgrind: this needs ptrace, which a container allows with \
             --cap-add=SYS_PTRACE",
        )
    }
}

/// The total number of instructions in a dump.
fn total(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
}

/// Waits until all threads of a process sleep: it has finished its work, and waits for more.
async fn rest(process: u32) -> Result<()> {
    let deadline = Instant::now() + REST_TIMEOUT;
    while !sleeps(process) {
        ensure!(
            Instant::now() < deadline,
            "the server did not become idle within {REST_TIMEOUT:?}"
        );
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Whether all threads of a process sleep. Also false if a thread exits during the check.
fn sleeps(process: u32) -> bool {
    let Ok(mut threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.all(|thread| {
        let stat = thread.and_then(|thread| fs::read_to_string(thread.path().join("stat")));
        stat.is_ok_and(|stat| state(&stat) == Some('S'))
    })
}

/// The state in `/proc/PID/stat`. The name before it can contain spaces and brackets.
fn state(stat: &str) -> Option<char> {
    stat.rsplit_once(") ")?.1.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_found_in_a_dump() {
        let dump = "# callgrind format\nversion: 1\npid: 1\nevents: Ir\nfn=(1) a\n0 5\n\ntotals: 106803476\n";
        assert_eq!(total(dump), Some(106_803_476));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn states_are_found_after_any_name() {
        assert_eq!(state("42 (a) b (c) S 1 42"), Some('S'));
        assert_eq!(state("42 (tokio) R 1 42"), Some('R'));
        assert_eq!(state("42"), None);
    }

    #[test]
    fn this_process_does_not_sleep() {
        assert!(!sleeps(std::process::id()));
    }
}
