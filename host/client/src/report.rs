//! The progress and the summary of an ingest.

use std::fmt;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::files::Skipped;

/// How often a progress line is printed when there is no terminal for a bar.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// How many reasons are shown; the rest are counted.
const MAX_SHOWN: usize = 20;

/// Shows a bar on a terminal and lines elsewhere, both on standard error.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
    last_line: Instant,
}

impl Progress {
    /// Progress over `total` bytes of files.
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

    /// Adds `bytes` to what is done.
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

    /// Shows what the ingest is waiting for.
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

/// The result of an ingest.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Documents stored.
    pub(super) documents: usize,
    /// Bytes of the stored documents, as sent.
    pub(super) bytes: usize,
    /// What was not sent.
    pub(super) skipped: Vec<Skipped>,
    /// What was sent but not stored.
    pub(super) failed: Vec<Skipped>,
    /// Time since the start of the ingest, including reading the files.
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
