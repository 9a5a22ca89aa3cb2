//! `weir:observe/logging`: writes a guest's messages to the host's log, and to the pipeline's own.
//!
//! A line has the id of its request. Its length is bounded, counted after escaping, and so is a
//! pipeline's rate. Lines beyond that are dropped, and their number is logged with the next line. Out
//! of scope: where the host's log goes, what happens when it cannot be written (`weir-server`), and how
//! many lines of the pipeline's own are kept ([`logs`](crate::logs)).

use std::fmt::Write as _;
use std::time::Instant;

use metrics::counter;
use parking_lot::Mutex;
use tracing::{debug, error, info, trace, warn};
use wasmtime::component::{HasData, Linker};
use weir_bindings::pipeline::weir::observe::logging;
use weir_core::name::Name;

use super::call::View;
use crate::logs::{By, Level, Said, Writer};
use crate::request::RequestId;

/// The longest message, or list of fields, after escaping; the rest is cut off. A log is not a store.
const MAX_TEXT_BYTES: usize = 4 << 10;
/// The most fields of one line; any others are dropped.
const MAX_FIELDS: usize = 32;
/// What the host adds to a line.
const LINE_BYTES: usize = 384;
/// What a pipeline may log at once, and, on average, in a second.
const BURST_BYTES: f64 = (1 << 20) as f64;
const BYTES_PER_SECOND: f64 = (64 << 10) as f64;

/// The interface that needs the grant.
pub(super) const INTERFACES: [&str; 1] = ["weir:observe/logging"];

/// What logging knows about a pipeline. All of its calls share it.
pub struct Context {
    tenant: Name,
    pipeline: Name,
    /// Where its lines are kept.
    kept: Writer,
    rate: Mutex<Rate>,
}

impl Context {
    /// The log of `pipeline` for `tenant`.
    #[must_use]
    pub fn new(tenant: Name, pipeline: Name, kept: Writer) -> Self {
        let rate = Rate { left_bytes: BURST_BYTES, at: Instant::now(), dropped: 0 };
        Self { tenant, pipeline, kept, rate: Mutex::new(rate) }
    }

    /// Keeps why a run has failed. The host's log has it where the request is answered.
    pub fn failed(&self, request_id: &RequestId, why: &str) {
        let message = message_text(why);
        if self.may_write(request_id, LINE_BYTES + message.len()) {
            self.keep(Level::Error, By::Host, request_id, message, String::new());
        }
    }

    /// Whether the pipeline may still log so much. Says how much could not be logged before, if so.
    fn may_write(&self, request_id: &RequestId, bytes: usize) -> bool {
        let (tenant, pipeline) = (self.tenant.as_str(), self.pipeline.as_str());
        let Some(dropped) = self.rate.lock().take(bytes, Instant::now()) else {
            counter!("weir_guest_log_lines_dropped_total", "pipeline" => pipeline.to_owned())
                .increment(1);
            return false;
        };
        if dropped > 0 {
            warn!(
                target: "weir::guest", tenant, pipeline, dropped,
                "the pipeline logs too much: lines were dropped"
            );
            let message = format!("{dropped} lines were dropped: the pipeline logs too much");
            self.keep(Level::Warn, By::Host, request_id, message, String::new());
        }
        true
    }

    fn keep(&self, level: Level, by: By, request_id: &RequestId, message: String, fields: String) {
        // A copy: an id that a client has sent is a part of all that arrived with it.
        let request_id = request_id.as_str().into();
        let (message, fields) = (message.into_boxed_str(), fields.into_boxed_str());
        self.kept.write(Said { level, by, request_id, message, fields });
    }
}

/// What a pipeline may still log: a bucket that fills with time.
#[derive(Debug)]
struct Rate {
    left_bytes: f64,
    at: Instant,
    /// Lines dropped since the last that was written.
    dropped: u64,
}

impl Rate {
    /// Takes a line. Returns how many were dropped before it; `None` if it is dropped too.
    fn take(&mut self, bytes: usize, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left_bytes = (self.left_bytes + passed * BYTES_PER_SECOND).min(BURST_BYTES);
        self.at = now;
        let bytes = bytes as f64;
        if bytes > self.left_bytes {
            self.dropped += 1;
            return None;
        }
        self.left_bytes -= bytes;
        Some(std::mem::take(&mut self.dropped))
    }
}

/// Links the interface that the grant opens.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_, Context>,
) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, Linked>(linker, view)
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a, Context>;
}

impl logging::Host for View<'_, Context> {
    fn log(
        &mut self,
        level: logging::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let message = message_text(&message);
        let has_fields = !fields.is_empty();
        let fields = fields_text(&fields);
        let id = &self.call.request_id;
        if !self.context.may_write(id, LINE_BYTES + message.len() + fields.len()) {
            return Ok(());
        }
        let (tenant, pipeline) = (self.context.tenant.as_str(), self.context.pipeline.as_str());
        let request_id = id.as_str();
        macro_rules! write_line {
            ($level:ident) => {
                $level!(target: "weir::guest", tenant, pipeline, request_id, %fields, "{message}")
            };
        }
        match level {
            logging::Level::Trace => write_line!(trace),
            logging::Level::Debug => write_line!(debug),
            logging::Level::Info => write_line!(info),
            logging::Level::Warn => write_line!(warn),
            logging::Level::Error => write_line!(error),
        }
        let fields = if has_fields { fields } else { String::new() };
        self.context.keep(level_of(level), By::Guest, id, message, fields);
        Ok(())
    }
}

fn level_of(level: logging::Level) -> Level {
    match level {
        logging::Level::Trace => Level::Trace,
        logging::Level::Debug => Level::Debug,
        logging::Level::Info => Level::Info,
        logging::Level::Warn => Level::Warn,
        logging::Level::Error => Level::Error,
    }
}

/// A message on one line, so that a guest cannot forge lines of the host's log.
fn message_text(message: &str) -> String {
    let mut text = String::new();
    escape_into(&mut text, message);
    text
}

/// Fields as a list of names and values.
fn fields_text(fields: &[(String, String)]) -> String {
    let mut text = String::from("[");
    for (index, (name, value)) in fields.iter().take(MAX_FIELDS).enumerate() {
        let separator = if index == 0 { "(\"" } else { ", (\"" };
        if text.len() + separator.len() > MAX_TEXT_BYTES {
            break;
        }
        text.push_str(separator);
        escape_into(&mut text, name);
        text.push_str("\", \"");
        escape_into(&mut text, value);
        text.push_str("\")");
    }
    text.push(']');
    text
}

/// Appends as much of `from`, escaped, as fits into [`MAX_TEXT_BYTES`].
fn escape_into(text: &mut String, from: &str) {
    for character in from.chars() {
        let before = text.len();
        let written = match character {
            // Nothing that is printed as it is can end a line or a field.
            '\'' => text.write_char(character),
            _ => write!(text, "{}", character.escape_debug()),
        };
        if written.is_err() || text.len() > MAX_TEXT_BYTES {
            text.truncate(before);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        assert_eq!(message_text("it's\n\u{1b}[31m \"red\""), "it's\\n\\u{1b}[31m \\\"red\\\"");
        for text in ["a", "\u{200b}", "\"", "\n", "ä"] {
            let long = text.repeat(1 << 16);
            assert!(message_text(&long).len() <= MAX_TEXT_BYTES, "{text:?}");
            let fields = vec![(long.clone(), long); 1_000];
            assert!(fields_text(&fields).len() <= MAX_TEXT_BYTES + 16, "{text:?}");
        }
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = [field("a", "1"), field("b", "x\")")];
        assert_eq!(fields_text(&fields), r#"[("a", "1"), ("b", "x\")")]"#);
    }

    #[test]
    fn lines_over_the_rate_are_dropped_and_counted() {
        let start = Instant::now();
        let mut rate = Rate { left_bytes: BURST_BYTES, at: start, dropped: 0 };
        let line = 64 << 10;
        let first = (0..100).filter(|_| rate.take(line, start).is_some()).count();
        assert_eq!(first, 16, "the burst");
        assert_eq!(rate.take(line, start + Duration::from_secs(1)), Some(84));
        assert_eq!(rate.take(line, start + Duration::from_secs(1)), None);
        assert_eq!(rate.take(line, start + Duration::from_secs(2)), Some(1));
    }
}
