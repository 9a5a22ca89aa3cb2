//! What a long step shows: a bar on a terminal, one plain line elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A step whose end is known in bytes or in items.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    amount: String,
    started: Instant,
}

impl Progress {
    /// A download or the like.
    pub(crate) fn bytes(label: &str, total: u64) -> Self {
        let template = "{msg:32} {bar:30} {bytes:>10} of {total_bytes}";
        Self::start(label, total, HumanBytes(total).to_string(), template)
    }

    /// `total` things of one kind, such as `documents`.
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

    /// What has been done so far.
    pub(crate) fn set(&self, position: u64) {
        // A file that is being moved is seen twice.
        self.bar.set_position(position.min(self.bar.length().unwrap_or(position)));
    }

    /// Takes the bar away and says how long it took.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!("{}: {} in {seconds:.1} s", self.label, self.amount);
    }

    /// Takes the bar away; the error is told elsewhere.
    pub(crate) fn failed(self) {
        self.bar.abandon();
    }
}
