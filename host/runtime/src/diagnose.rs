//! Locates mistakes in TOML that people write, the configuration and the manifests of plugins, and
//! suggests what was probably meant. Out of scope: what is a mistake.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// Longer names are not compared with others: nobody meant one by them.
const MAX_COMPARED_BYTES: usize = 128;

/// A mistake in a file.
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
    /// The mistake that `error` is about, in `text`.
    #[must_use]
    pub fn of(text: &str, error: &Error) -> Self {
        let span = error.span();
        let line = span.as_ref().map(|span| 1 + text[..span.start].matches('\n').count());
        let table = DeTable::parse(text).ok();
        let key = span.zip(table).and_then(|(span, table)| key_at(table.get_ref(), &span));
        Self { line, key, message: message(error) }
    }
}

/// What `error` says, with a hint if it is about an unknown key.
#[must_use]
pub fn message(error: &Error) -> String {
    match unknown_field(error.message()) {
        Some((unknown, known)) => unknown_key(unknown, &known),
        None => error.message().to_owned(),
    }
}

/// What to say of a key that is not one of `known`.
#[must_use]
pub fn unknown_key(unknown: &str, known: &[&str]) -> String {
    let hint = did_you_mean(unknown, known.iter().copied());
    format!("unknown key '{unknown}'{hint} (known here: {})", known.join(", "))
}

/// The unknown field and the known ones in serde's message: "unknown field `a`, expected one
/// of `b`, `c`". A derived `Deserialize` uses only this form.
#[must_use]
pub fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((unknown, known))
}

/// `, did you mean 'x'?` for the nearest of `known`, or nothing if no name is near.
#[must_use]
pub fn did_you_mean<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    let is_compared = unknown.len() <= MAX_COMPARED_BYTES;
    known
        .filter(|_| is_compared)
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7)
        .map(|(_, name)| format!(", did you mean '{name}'?"))
        .unwrap_or_default()
}

/// The path of the deepest key whose name or value contains `span`: `settings.limit.default`, or
/// `samples[2].body` below the third of several tables.
#[must_use]
pub fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut path = String::new();
    in_table(table, span, &mut path).then_some(path)
}

fn in_table(table: &DeTable<'_>, span: &Range<usize>, path: &mut String) -> bool {
    let above = path.len();
    for (key, value) in table {
        if above > 0 {
            path.push('.');
        }
        path.push_str(key.get_ref());
        // A table's span is only its header, so its contents are always searched as well.
        if below(value.get_ref(), span, path) || holds(key, span) || holds(value, span) {
            return true;
        }
        path.truncate(above);
    }
    false
}

fn below(value: &DeValue<'_>, span: &Range<usize>, path: &mut String) -> bool {
    match value {
        DeValue::Table(table) => in_table(table, span, path),
        DeValue::Array(values) => {
            let above = path.len();
            for (index, value) in values.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                if below(value.get_ref(), span, path) || holds(value, span) {
                    return true;
                }
                path.truncate(above);
            }
            false
        }
        _ => false,
    }
}

fn holds<T>(spanned: &Spanned<T>, span: &Range<usize>) -> bool {
    let own = spanned.span();
    own.start <= span.start && span.end <= own.end
}
