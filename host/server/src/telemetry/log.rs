//! The log: lines on standard error, as text or JSON.
//!
//! A thread of its own writes them, so that a pipe that nobody reads blocks no request. If it is
//! behind by more than a few thousand lines, further lines are dropped, and counted.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use metrics::counter;
use tokio::time::interval;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// The most lines that wait to be written. The longest, those of plugins, have at most 20 KiB.
const MAX_WAITING_LINES: usize = 4_096;
/// Each connection to Redis says for itself, without a limit, what the shared tier says once, with how to mend
/// it. `log.level` can name `fred` again.
const QUIET: &str = "fred=off";
/// What administrators change is always logged.
const AUDIT: &str = "weir::audit=info";
const DROPPED_INTERVAL: Duration = Duration::from_secs(5);

/// The log of the process. Dropping it writes what still waits, for up to a second.
#[must_use = "lines that wait are lost if it is not dropped"]
pub struct Logging {
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Starts the log for the whole process.
///
/// # Errors
/// `log.level` is neither a level nor a list of directives.
pub fn start(config: &Log) -> Result<Logging, ParseError> {
    let filter = EnvFilter::try_new(format!("{QUIET},{},{AUDIT}", config.level))?;
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(MAX_WAITING_LINES)
        .thread_name("weir-log")
        .finish(io::stderr());
    let logging = Logging { dropped: writer.error_counter(), _writer: guard };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // A line that cannot be written, because the disk is full, is lost. It would be reported on
        // standard error, and the failure of that is a panic.
        .log_internal_errors(false)
        .with_writer(writer);
    // A second start (in tests) keeps the first log.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(logging)
}

impl Logging {
    /// Counts dropped lines as `weir_log_lines_dropped_total`, until the runtime ends.
    pub fn spawn_counting(&self) {
        let dropped = self.dropped.clone();
        let counter = counter!("weir_log_lines_dropped_total");
        tokio::spawn(async move {
            let mut interval = interval(DROPPED_INTERVAL);
            loop {
                interval.tick().await;
                counter.absolute(dropped.dropped_lines() as u64);
            }
        });
    }
}
