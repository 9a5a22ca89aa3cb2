//! Shows that the server is at work: a line that moves and counts seconds on a terminal, and one that stays
//! elsewhere, both on standard error.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the line moves.
const TICK: Duration = Duration::from_millis(100);

/// Something that is waited for until this is dropped.
pub(crate) struct Waiting(Option<ProgressBar>);

impl Waiting {
    /// `what` is a sentence without its end.
    pub(crate) fn new(what: &'static str) -> Self {
        if !std::io::stderr().is_terminal() {
            eprintln!("{what} …");
            return Self(None);
        }
        let line = ProgressBar::new_spinner().with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} … {elapsed}") {
            line.set_style(style);
        }
        line.enable_steady_tick(TICK);
        Self(Some(line))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.finish_and_clear();
        }
    }
}
