//! The log: lines on standard error, as text or JSON.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::{Log, LogFormat};

/// Starts the log for the whole process.
///
/// # Errors
/// `log.level` is neither a level nor a list of directives.
pub fn start(config: &Log) -> Result<(), ParseError> {
    let filter = EnvFilter::try_new(&config.level)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        // A line that cannot be written, because the disk is full, is lost. It would be reported on
        // standard error, and the failure of that is a panic.
        .log_internal_errors(false)
        .with_writer(io::stderr);
    // A second start (in tests) keeps the first log.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
