//! What an ingest says while it runs and when it ends.

use std::fmt;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::files::Skipped;

/// Where nobody sees a bar move, a line says as much now and then.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Reasons that are shown; the rest are counted.
const MAX_SHOWN: usize = 20;

/// A bar on a terminal, lines elsewhere; both on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    last_line: Instant,
}

impl Progress {
    /// Of `total` bytes of files.
    pub(super) fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            let style = "{bar:40} {bytes} of {total_bytes}, {eta} to go {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, total, done: 0, last_line: Instant::now() }
    }

    /// `bytes` more are done.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        match &self.bar {
            Some(bar) => bar.inc(bytes),
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                eprintln!("{} of {}", HumanBytes(self.done), HumanBytes(self.total));
            }
            None => {}
        }
    }

    /// Says what is waited for.
    pub(super) fn note(&self, message: &'static str) {
        match &self.bar {
            Some(bar) => bar.set_message(message),
            None => eprintln!("{message}"),
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What became of everything.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Stored.
    pub(super) documents: usize,
    /// Of them, as they were sent.
    pub(super) bytes: usize,
    /// Not sent.
    pub(super) skipped: Vec<Skipped>,
    /// Sent, and not stored.
    pub(super) failed: Vec<Skipped>,
    /// From the first request on.
    pub(super) elapsed: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { documents, bytes, skipped, failed, elapsed } = self;
        let (bytes, seconds) = (HumanBytes(*bytes as u64), elapsed.as_secs_f64());
        writeln!(f, "{documents} documents, {bytes}, in {seconds:.1} s")?;
        for (what, list) in [("skipped", skipped), ("failed", failed)] {
            if list.is_empty() {
                continue;
            }
            writeln!(f, "{} {what}:", list.len())?;
            for Skipped { what, reason } in list.iter().take(MAX_SHOWN) {
                writeln!(f, "  {what}: {reason}")?;
            }
            if list.len() > MAX_SHOWN {
                writeln!(f, "  … and {} more", list.len() - MAX_SHOWN)?;
            }
        }
        Ok(())
    }
}
