//! One line of a pipeline's log.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use thiserror::Error;
use weir_core::name::Name;

/// What a line takes in addition to its texts: itself, its counts, and twice its place in a ring, which grows by
/// doubling.
const LINE_BYTES: usize = 256;

/// How important a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    #[default]
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

impl Level {
    /// All of them, from the least important one.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A text is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a level is trace, debug, info, warn or error")]
pub struct LevelError;

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        Self::ALL.into_iter().find(|level| level.as_str() == text).ok_or(LevelError)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The plugin.
    Guest,
    /// The host, about the plugin.
    Host,
}

/// What a line says. Its texts are bounded by whoever makes it.
#[derive(Debug)]
pub struct Said {
    /// How important it is.
    pub level: Level,
    /// Who says it.
    pub by: By,
    /// The id of the request that it is about.
    pub request_id: Box<str>,
    /// The message, on one line.
    pub message: Box<str>,
    /// Names and values, as the server's log shows them; empty if there are none.
    pub fields: Box<str>,
}

/// A line that is kept.
#[derive(Debug)]
pub struct Line {
    /// Grows with each line of the pipeline.
    pub id: u64,
    /// When it was written.
    pub unix_ms: u64,
    /// The tenant whose request it is about.
    pub tenant: Name,
    /// The revision that wrote it.
    pub revision: u64,
    /// What it says.
    pub said: Said,
}

impl Line {
    /// What it takes of the memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Said { request_id, message, fields, .. } = &self.said;
        LINE_BYTES + self.tenant.as_str().len() + request_id.len() + message.len() + fields.len()
    }
}

/// The time by the wall clock, which lines show and which decides nothing.
pub(super) fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// What a guest says at this level.
    pub(in crate::logs) fn said(level: Level, message: &str) -> Said {
        let text = |text: &str| text.to_owned().into_boxed_str();
        let (request_id, message, fields) = (text("a"), text(message), text(""));
        Said { level, by: By::Guest, request_id, message, fields }
    }

    /// A line with this id and message.
    pub(in crate::logs) fn line(id: u64, message: &str) -> Line {
        let tenant = Name::new("acme").unwrap_or_else(|error| panic!("{error}"));
        Line { id, unix_ms: 0, tenant, revision: 1, said: said(Level::Info, message) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use super::*;

    #[test]
    fn a_level_is_read_as_it_is_written() {
        for level in Level::ALL {
            assert_eq!(level.as_str().parse::<Level>().unwrap(), level);
        }
        for text in ["", "INFO", "fatal"] {
            assert!(text.parse::<Level>().is_err(), "{text:?}");
        }
        assert!(Level::ALL.is_sorted());
    }

    #[test]
    fn what_a_line_is_made_of_is_charged() {
        let of_ring = 2 * size_of::<std::sync::Arc<Line>>();
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<Line>() + counts + of_ring <= LINE_BYTES, "{}", size_of::<Line>());
    }
}
