//! What the deployment configures for its pipeline. Needs the grant `weir:observe/settings`.
//!
//! Settings are part of every cache key through their revision: an answer made with other
//! settings is never served.

use std::fmt::Display;
use std::str::FromStr;

use crate::Failure;
use crate::bindings::pipeline::weir::observe::settings;

/// The setting's text; `None` where it is not set.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    settings::get(name)
}

/// The setting, parsed. One that does not parse is the failure `invalid-settings`, since the
/// operator is at fault and not the client.
pub fn parse<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| {
        Failure::failed("invalid-settings", format!("the setting '{name}' is '{text}': {error}"))
    })
}
