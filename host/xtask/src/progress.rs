//! Shows the progress of long steps: a bar on a terminal, plain lines otherwise.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A step with a known total of bytes or items.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    amount: String,
    started: Instant,
}

impl Progress {
    /// Starts a step that is counted in bytes, such as a download.
    pub(crate) fn bytes(label: &str, total: u64) -> Self {
        let template = "{msg:32} {bar:30} {bytes:>10} of {total_bytes}";
        Self::start(label, total, HumanBytes(total).to_string(), template)
    }

    /// Starts a step of `total` items of one kind, such as `documents`.
    pub(crate) fn items(label: &str, total: u64, kind: &str) -> Self {
        Self::start(label, total, format!("{total} {kind}"), "{msg:32} {bar:30} {pos:>6} of {len}")
    }

    fn start(label: &str, total: u64, amount: String, template: &str) -> Self {
        let bar = if stderr().is_terminal() {
            let style =
                ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style).with_message(label.to_owned())
        } else {
            eprintln!("{label}: {amount} …");
            ProgressBar::hidden()
        };
        Self { bar, label: label.to_owned(), amount, started: Instant::now() }
    }

    /// Shows how much has been done so far.
    pub(crate) fn set(&self, position: u64) {
        // A file that is being moved can be counted twice.
        self.bar.set_position(position.min(self.bar.length().unwrap_or(position)));
    }

    /// Removes the bar and prints how long the step took.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!("{}: {} in {seconds:.1} s", self.label, self.amount);
    }

    /// Stops the bar where it is; the caller reports the error.
    pub(crate) fn failed(self) {
        self.bar.abandon();
    }
}
