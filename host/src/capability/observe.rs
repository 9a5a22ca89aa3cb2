//! `weir:observe`: a guest's log lines and settings.

use tracing::{debug, error, info, trace, warn};
use weir_bindings::pipeline::weir::observe::{logging, settings};

use crate::pipeline::call::GuestState;

/// Longer messages and values are cut: a log is not a store.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// What a line costs beside its text: a request has bytes for a thousand lines.
const LINE_BYTES: usize = 64 << 10;
/// Further fields are left out.
const MAX_FIELDS: usize = 32;

impl logging::Host for GuestState {
    fn log(
        &mut self,
        level: logging::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !self.call.spend(LINE_BYTES + message.len() + bytes) {
            return Ok(());
        }
        let pipeline = self.call.pipeline.as_str();
        let message = cut(&message);
        let fields: Vec<_> =
            fields.iter().take(MAX_FIELDS).map(|(name, value)| (cut(name), cut(value))).collect();
        match level {
            logging::Level::Trace => trace!(target: "weir::guest", pipeline, ?fields, "{message}"),
            logging::Level::Debug => debug!(target: "weir::guest", pipeline, ?fields, "{message}"),
            logging::Level::Info => info!(target: "weir::guest", pipeline, ?fields, "{message}"),
            logging::Level::Warn => warn!(target: "weir::guest", pipeline, ?fields, "{message}"),
            logging::Level::Error => error!(target: "weir::guest", pipeline, ?fields, "{message}"),
        }
        Ok(())
    }
}

/// At most [`MAX_MESSAGE_BYTES`] of `text`, on one line: a guest writes no lines of the
/// host's log.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace(char::is_control, " ")
}

impl settings::Host for GuestState {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.call.settings.get(&name).cloned())
    }
}
