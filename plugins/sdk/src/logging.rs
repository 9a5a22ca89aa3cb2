//! Lines in the host's log. Needs the grant `weir:observe/logging`.

pub use crate::bindings::pipeline::weir::observe::logging::Level;

use crate::bindings::pipeline::weir::observe::logging;

/// Writes a line; the host adds tenant, pipeline and request id.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    logging::log(level, message, &fields);
}
