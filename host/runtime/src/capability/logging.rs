//! `weir:observe/logging`: writes a guest's messages to the host's log.

use tracing::{debug, error, info, trace, warn};
use wasmtime::component::{HasData, Linker};
use weir_bindings::pipeline::weir::observe::logging;
use weir_core::name::Name;

use super::call::View;

/// Longer messages, names and values are truncated: a log is not a store.
const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// What a line costs in addition to its text. It limits a request to about a thousand lines.
const LINE_BYTES: usize = 64 << 10;
/// The most fields of one line; any others are dropped.
const MAX_FIELDS: usize = 32;

/// The interface that needs the grant.
pub(super) const INTERFACES: [&str; 1] = ["weir:observe/logging"];

/// What logging knows about a call.
pub struct Context {
    /// The tenant that the pipeline runs for.
    pub tenant: Name,
    /// The pipeline's name.
    pub pipeline: Name,
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
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        if !self.call.spend(LINE_BYTES + message.len() + bytes) {
            return Ok(());
        }
        let (tenant, pipeline) = (self.context.tenant.as_str(), self.context.pipeline.as_str());
        let message = cut(&message);
        let fields: Vec<_> =
            fields.iter().take(MAX_FIELDS).map(|(name, value)| (cut(name), cut(value))).collect();
        match level {
            logging::Level::Trace => {
                trace!(target: "weir::guest", tenant, pipeline, ?fields, "{message}")
            }
            logging::Level::Debug => {
                debug!(target: "weir::guest", tenant, pipeline, ?fields, "{message}")
            }
            logging::Level::Info => {
                info!(target: "weir::guest", tenant, pipeline, ?fields, "{message}")
            }
            logging::Level::Warn => {
                warn!(target: "weir::guest", tenant, pipeline, ?fields, "{message}")
            }
            logging::Level::Error => {
                error!(target: "weir::guest", tenant, pipeline, ?fields, "{message}")
            }
        }
        Ok(())
    }
}

/// At most [`MAX_MESSAGE_BYTES`] of `text`, on one line, so that a guest cannot forge lines of the
/// host's log.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_MESSAGE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace(char::is_control, " ")
}
