//! Lines in the host's log. Needs the grant `weir:observe/logging`.

use crate::bindings::pipeline::weir::observe::logging as wit;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every step.
    Trace,
    /// Details for finding a fault.
    Debug,
    /// What an operator wants to see.
    Info,
    /// Something unexpected that was handled.
    Warn,
    /// Something was not done.
    Error,
}

/// Writes one line. The host adds the pipeline's name and the request's id.
pub fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => wit::Level::Trace,
        Level::Debug => wit::Level::Debug,
        Level::Info => wit::Level::Info,
        Level::Warn => wit::Level::Warn,
        Level::Error => wit::Level::Error,
    };
    let fields: Vec<_> = fields.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    wit::log(level, message, &fields);
}
