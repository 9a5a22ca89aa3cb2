//! What the operator set for this deployment. Needs the grant `weir:observe/settings`.
//!
//! Settings are part of every key: an answer made with other settings is never served.

use std::fmt::Display;
use std::str::FromStr;

use crate::Failure;
use crate::bindings::pipeline::weir::observe::settings;

/// The setting's text; `None` if it is not set.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    settings::get(name)
}

/// The setting, parsed; `None` if it is not set.
///
/// # Errors
/// It cannot be parsed: a failure with the code `invalid-settings` and status 500, since the
/// fault is the operator's, not the client's.
pub fn parse<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| {
        Failure::failed("invalid-settings", format!("the setting '{name}' is '{text}': {error}"))
    })
}
