//! Locates mistakes in a configuration, and suggests what was probably meant.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// The first mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Its line, starting at 1; `None` if it has no place in the file.
    pub line: Option<usize>,
    /// The dotted path of the key, if there is one.
    pub key: Option<String>,
    /// What is wrong, and what was probably meant.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        match &self.key {
            Some(key) => write!(f, " {key}: {}", self.message),
            None => write!(f, " {}", self.message),
        }
    }
}

impl Mistake {
    pub(super) fn of(text: &str, error: &Error) -> Self {
        let span = error.span();
        let line = span.as_ref().map(|span| 1 + text[..span.start].matches('\n').count());
        let key = span.and_then(|span| key_at(text, &span));
        let message = match unknown_field(error.message()) {
            Some((unknown, known)) => {
                let hint = did_you_mean(unknown, known.iter().copied());
                format!("unknown key '{unknown}'{hint} (known here: {})", known.join(", "))
            }
            None => error.message().to_owned(),
        };
        Self { line, key, message }
    }
}

/// The unknown field and the known ones in serde's message: "unknown field `a`, expected one
/// of `b`, `c`". A derived `Deserialize` uses only this form.
pub(super) fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((unknown, known))
}

/// `, did you mean 'x'?` for the nearest of `known`, or nothing if no name is near.
pub(super) fn did_you_mean<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7)
        .map(|(_, name)| format!(", did you mean '{name}'?"))
        .unwrap_or_default()
}

/// The path of the deepest key whose name or value contains `span`.
fn key_at(text: &str, span: &Range<usize>) -> Option<String> {
    let table = DeTable::parse(text).ok()?;
    let mut path = Vec::new();
    descend(table.get_ref(), span, &mut path);
    (!path.is_empty()).then(|| path.join("."))
}

fn descend(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        let below = match value.get_ref() {
            // A table's span is only its header, so its contents are always searched as well.
            DeValue::Table(table) => descend(table, span, path),
            _ => false,
        };
        if below || holds(key, span) || holds(value, span) {
            return true;
        }
        path.pop();
    }
    false
}

fn holds<T>(spanned: &Spanned<T>, span: &Range<usize>) -> bool {
    let own = spanned.span();
    own.start <= span.start && span.end <= own.end
}
