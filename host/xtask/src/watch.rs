//! Looks at the server's process from outside: memory, handles, threads, and whether it is at work.
//! Reads only `/proc`, so it works on a server that does not answer.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::machine::CpuTime;

const SAMPLED: Duration = Duration::from_millis(100);
/// A server without work uses less of one core than this.
const QUIET_SHARE: f64 = 0.05;
const QUIET_FOR: Duration = Duration::from_millis(500);

/// A process.
#[derive(Clone)]
pub(crate) struct Process {
    id: u32,
    folder: PathBuf,
}

/// What a process has open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Handles {
    pub(crate) sockets: usize,
    /// Everything else: files, pipes, event queues.
    pub(crate) others: usize,
}

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Peak {
    pub(crate) memory_mib: u64,
    pub(crate) threads: u64,
    pub(crate) sockets: usize,
}

impl Process {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, folder: Path::new("/proc").join(id.to_string()) }
    }

    pub(crate) fn handles(&self) -> Result<Handles> {
        let mut handles = Handles::default();
        for entry in fs::read_dir(self.folder.join("fd")).context("listing a server's handles")? {
            match fs::read_link(entry?.path()) {
                Ok(target) if target.to_string_lossy().starts_with("socket:") => {
                    handles.sockets += 1;
                }
                Ok(_) => handles.others += 1,
                // It was closed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context("reading a server's handle"),
            }
        }
        Ok(handles)
    }

    /// The memory that it has now, in KiB.
    pub(crate) fn resident_kib(&self) -> Result<u64> {
        number_of(&self.status()?, "VmRSS").context("no VmRSS in status")
    }

    fn status(&self) -> Result<String> {
        fs::read_to_string(self.folder.join("status")).context("the server is gone")
    }

    /// Makes the kernel forget the peak of its memory.
    pub(crate) fn forget_peak(&self) -> Result<()> {
        fs::write(self.folder.join("clear_refs"), "5").context("resetting the peak of memory")
    }

    fn sample(&self, peak: &mut Peak) -> Result<()> {
        let status = self.status()?;
        let number = |key| number_of(&status, key).with_context(|| format!("no {key} in status"));
        // The kernel's own peak, since it was reset.
        peak.memory_mib = peak.memory_mib.max(number("VmHWM")? / 1024);
        peak.threads = peak.threads.max(number("Threads")?);
        peak.sockets = peak.sockets.max(self.handles()?.sockets);
        Ok(())
    }

    /// Watches until the process is gone or has taken more memory than `most_mib`, and returns why.
    pub(crate) async fn watch(&self, peak: &mut Peak, most_mib: u64) -> anyhow::Error {
        loop {
            if let Err(error) = self.sample(peak) {
                return error;
            }
            if peak.memory_mib > most_mib {
                return anyhow::anyhow!("the server took {} MiB of memory", peak.memory_mib);
            }
            sleep(SAMPLED).await;
        }
    }

    /// Whether it does nothing for half a second.
    pub(crate) async fn is_quiet(&self) -> Result<bool> {
        let before = CpuTime::now(self.id)?;
        sleep(QUIET_FOR).await;
        let spent = CpuTime::now(self.id)?.since(before).process;
        Ok(spent.as_secs_f64() < QUIET_FOR.as_secs_f64() * QUIET_SHARE)
    }
}

/// The number in a line such as `VmHWM:     1234 kB`.
fn number_of(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::net::TcpListener;

    use super::*;

    #[test]
    fn numbers_of_status() {
        let status = "VmHWMX:\t1 kB\nVmHWM:\t  2048 kB\nThreads:\t7\n";
        assert_eq!(number_of(status, "VmHWM"), Some(2048));
        assert_eq!(number_of(status, "Threads"), Some(7));
        assert_eq!(number_of(status, "VmRSS"), None);
    }

    #[tokio::test]
    async fn this_process_is_seen() {
        let process = Process::new(std::process::id());
        let before = process.handles().unwrap();
        // Other tests open and close some meanwhile.
        let listeners: Vec<_> =
            (0..100).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        assert!(process.handles().unwrap().sockets >= before.sockets + 50);
        drop(listeners);
        let mut peak = Peak::default();
        let error = process.watch(&mut peak, 0).await;
        assert!(error.to_string().contains("MiB"), "{error}");
        assert!(peak.threads >= 1 && peak.memory_mib >= 1, "{peak:?}");
        assert!(process.resident_kib().unwrap() > 100);
    }
}
