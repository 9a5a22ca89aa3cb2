//! A setting that a manifest declares: its type, its range and its default, and whether a text is a
//! value of it.
//!
//! Settings are texts ([`crate::settings`]), so a value has the type of its setting if its text can be
//! read as one. Out of scope: all settings of a deployment together ([`super::settings`]).

use std::fmt;

use serde::Deserialize;
use toml::Value;

use crate::settings::Setting;

/// The longest text of a setting.
const MAX_TEXT_BYTES: usize = 16 << 10;
/// The most values that a setting may list.
const MAX_VALUES: usize = 64;
/// As much of a wrong value as an error shows.
const MAX_SHOWN_CHARS: usize = 64;

/// A setting that a manifest declares.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// What it is for.
    pub description: String,
    /// What it may be.
    pub of: Type,
    /// What it is if it is not set.
    pub default: Option<Setting>,
    /// Whether it may be left unset although it has no default.
    pub optional: bool,
}

/// What a setting may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// A text.
    String {
        /// The texts that it may be; empty if it may be any.
        values: Vec<String>,
    },
    /// A whole number of 64 bits, with a sign.
    Integer {
        /// The least.
        minimum: Option<i64>,
        /// The most.
        maximum: Option<i64>,
    },
    /// A finite number of 64 bits.
    Number {
        /// The least.
        minimum: Option<f64>,
        /// The most.
        maximum: Option<f64>,
    },
    /// `true` or `false`.
    Boolean,
}

/// `[settings.NAME]`, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(rename = "type")]
    of: Kind,
    pub(super) description: String,
    default: Option<Value>,
    minimum: Option<Value>,
    maximum: Option<Value>,
    values: Option<Vec<String>>,
    #[serde(default)]
    optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    String,
    Integer,
    Number,
    Boolean,
}

impl Declared {
    /// The setting that is written like that. `fault` takes each key that is wrong, and why; the result is
    /// only what remains without them.
    pub(super) fn new(written: Written, fault: &mut impl FnMut(&str, String)) -> Self {
        let Written { of: kind, description, default, minimum, maximum, values, optional } =
            written;
        let is_number = matches!(kind, Kind::Integer | Kind::Number);
        for (key, is_there, is_allowed, of) in [
            ("minimum", minimum.is_some(), is_number, "numbers have"),
            ("maximum", maximum.is_some(), is_number, "numbers have"),
            ("values", values.is_some(), kind == Kind::String, "strings have"),
        ] {
            if is_there && !is_allowed {
                fault(key, format!("only {of} one, and this is {kind}"));
            }
        }
        let of = match kind {
            Kind::String => Type::String { values: check_values(values, fault) },
            Kind::Integer => {
                let (minimum, maximum) = range(minimum, maximum, kind, Value::as_integer, fault);
                Type::Integer { minimum, maximum }
            }
            Kind::Number => {
                let (minimum, maximum) = range(minimum, maximum, kind, finite, fault);
                Type::Number { minimum, maximum }
            }
            Kind::Boolean => Type::Boolean,
        };
        if optional && default.is_some() {
            fault("optional", "is only for settings without a default".to_owned());
        }
        let mut declared = Self { description, of, default: None, optional };
        if let Some(default) = default {
            match kind.text(&default).and_then(|text| declared.of.accept(&text)) {
                Ok(default) => declared.default = Some(default),
                Err(problem) => fault("default", problem),
            }
        }
        declared
    }
}

impl Type {
    /// The setting that `text` is, in the form that plugins read.
    ///
    /// # Errors
    /// It is of another type, out of range or not among the values: what it must be, and what it is.
    pub fn accept(&self, text: &str) -> Result<Setting, String> {
        if text.len() > MAX_TEXT_BYTES {
            let bytes = text.len();
            return Err(format!("must have at most {MAX_TEXT_BYTES} bytes, but has {bytes}"));
        }
        let accepted = match self {
            Self::String { values } => {
                let is_value = values.is_empty() || values.iter().any(|value| value == text);
                is_value.then(|| text.to_owned())
            }
            Self::Integer { minimum, maximum } => {
                let within = |value: &i64| is_within(value, minimum.as_ref(), maximum.as_ref());
                text.parse().ok().filter(within).map(|value| value.to_string())
            }
            Self::Number { minimum, maximum } => {
                let within = |value: &f64| is_within(value, minimum.as_ref(), maximum.as_ref());
                let value = text.parse().ok().filter(|value: &f64| value.is_finite());
                // A whole number keeps digits that a float does not have.
                let whole = text.parse::<i64>().map(|whole| whole.to_string());
                value.filter(within).map(|value| whole.unwrap_or_else(|_| value.to_string()))
            }
            Self::Boolean => matches!(text, "true" | "false").then(|| text.to_owned()),
        };
        accepted.map(Setting).ok_or_else(|| format!("must be {self}, but is '{}'", shown(text)))
    }
}

/// What it must be: "an integer from 1 to 100".
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn range<T: fmt::Display>(
            f: &mut fmt::Formatter<'_>,
            name: &str,
            minimum: Option<&T>,
            maximum: Option<&T>,
        ) -> fmt::Result {
            f.write_str(name)?;
            match (minimum, maximum) {
                (Some(minimum), Some(maximum)) => write!(f, " from {minimum} to {maximum}"),
                (Some(minimum), None) => write!(f, " of at least {minimum}"),
                (None, Some(maximum)) => write!(f, " of at most {maximum}"),
                (None, None) => Ok(()),
            }
        }
        match self {
            Self::String { values } if values.is_empty() => f.write_str("a string"),
            Self::String { values } => write!(f, "one of '{}'", values.join("', '")),
            Self::Integer { minimum, maximum } => {
                range(f, "an integer", minimum.as_ref(), maximum.as_ref())
            }
            Self::Number { minimum, maximum } => {
                range(f, "a number", minimum.as_ref(), maximum.as_ref())
            }
            Self::Boolean => f.write_str("true or false"),
        }
    }
}

impl Kind {
    /// The text of a value of this type.
    fn text(self, value: &Value) -> Result<String, String> {
        match (self, value) {
            (Self::String, Value::String(text)) => Ok(text.clone()),
            (Self::Integer | Self::Number, Value::Integer(value)) => Ok(value.to_string()),
            (Self::Number, Value::Float(value)) => Ok(value.to_string()),
            (Self::Boolean, Value::Boolean(value)) => Ok(value.to_string()),
            (_, other) => Err(format!("must be {self}, but is of type {}", other.type_str())),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
        })
    }
}

fn check_values(values: Option<Vec<String>>, fault: &mut impl FnMut(&str, String)) -> Vec<String> {
    let Some(values) = values else { return Vec::new() };
    let mut sorted = values.clone();
    sorted.sort_unstable();
    if !(1..=MAX_VALUES).contains(&values.len()) {
        fault("values", format!("must list 1 to {MAX_VALUES} texts, but lists {}", values.len()));
    } else if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        fault("values", format!("'{}' is listed twice", shown(&twice[0])));
    } else if let Some(long) = values.iter().find(|value| value.chars().count() > MAX_SHOWN_CHARS) {
        let start = shown(long);
        fault("values", format!("'{start}' has more than {MAX_SHOWN_CHARS} characters"));
    } else {
        return values;
    }
    Vec::new()
}

/// The bounds that are numbers of this kind, if they are a range.
fn range<T: PartialOrd + Copy>(
    minimum: Option<Value>,
    maximum: Option<Value>,
    kind: Kind,
    number: fn(&Value) -> Option<T>,
    fault: &mut impl FnMut(&str, String),
) -> (Option<T>, Option<T>) {
    let [minimum, maximum] = [("minimum", minimum), ("maximum", maximum)].map(|(key, bound)| {
        let bound = bound?;
        let read = number(&bound);
        if read.is_none() {
            fault(key, format!("must be {kind}, but is {}", shown(&bound.to_string())));
        }
        read
    });
    if let (Some(least), Some(most)) = (minimum, maximum)
        && least > most
    {
        fault("minimum", "must not be larger than the maximum".to_owned());
        return (None, None);
    }
    (minimum, maximum)
}

fn finite(value: &Value) -> Option<f64> {
    let value = match value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        _ => return None,
    };
    value.is_finite().then_some(value)
}

fn is_within<T: PartialOrd>(value: &T, minimum: Option<&T>, maximum: Option<&T>) -> bool {
    minimum.is_none_or(|minimum| minimum <= value) && maximum.is_none_or(|maximum| value <= maximum)
}

/// The beginning of a text, for an error, without what controls a terminal.
pub(super) fn shown(text: &str) -> String {
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).map(printable).collect();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// The setting that is declared like that, and the faults of its keys.
    fn declare(toml: &str) -> (Declared, Vec<String>) {
        let written = toml::from_str(&format!("description = 'd'\n{toml}")).unwrap();
        let mut faults = Vec::new();
        let declared = Declared::new(written, &mut |key: &str, problem| {
            faults.push(format!("{key} {problem}"));
        });
        (declared, faults)
    }

    fn default_of(toml: &str) -> Option<String> {
        let (declared, faults) = declare(toml);
        assert_eq!(faults, [""; 0], "{toml}");
        declared.default.map(|setting| setting.0)
    }

    #[test]
    fn a_default_is_kept_as_its_text() {
        for (toml, default) in [
            ("type = 'string'\ndefault = 'a'", Some("a")),
            ("type = 'string'\ndefault = ''", Some("")),
            ("type = 'string'\ndefault = 'b'\nvalues = ['a', 'b']", Some("b")),
            ("type = 'integer'\ndefault = -3\nminimum = -3\nmaximum = -3", Some("-3")),
            ("type = 'number'\ndefault = 1\nminimum = 0.5", Some("1")),
            ("type = 'number'\ndefault = 1.0\nmaximum = 1", Some("1")),
            ("type = 'number'\ndefault = 9007199254740993", Some("9007199254740993")),
            ("type = 'boolean'\ndefault = false", Some("false")),
            ("type = 'integer'", None),
        ] {
            assert_eq!(default_of(toml).as_deref(), default, "{toml}");
        }
    }

    #[test]
    fn each_key_that_is_wrong_is_named() {
        let long = format!("type = 'string'\nvalues = ['{}']", "a".repeat(65));
        let many = format!("type = 'string'\nvalues = [{}]", "'a', ".repeat(65));
        let longest = format!("type = 'string'\ndefault = '{}'", "a".repeat(MAX_TEXT_BYTES + 1));
        for (toml, expected) in [
            ("type = 'string'\ndefault = 1", "default must be a string, but is of type integer"),
            ("type = 'integer'\ndefault = 1.5", "default must be an integer, but is of type float"),
            (
                "type = 'boolean'\ndefault = 'true'",
                "default must be a boolean, but is of type string",
            ),
            (
                "type = 'integer'\ndefault = 1\nminimum = 2",
                "default must be an integer of at least 2",
            ),
            (
                "type = 'integer'\ndefault = 4\nmaximum = 3",
                "default must be an integer of at most 3",
            ),
            (
                "type = 'number'\ndefault = 9.5\nminimum = 0\nmaximum = 9",
                "default must be a number from 0 to 9, but is '9.5'",
            ),
            ("type = 'number'\ndefault = nan", "default must be a number, but is 'NaN'"),
            ("type = 'number'\nmaximum = inf", "maximum must be a number, but is inf"),
            ("type = 'integer'\nminimum = 0.5", "minimum must be an integer, but is 0.5"),
            ("type = 'integer'\nminimum = 2\nmaximum = 1", "minimum must not be larger than"),
            (
                "type = 'string'\ndefault = 'c'\nvalues = ['a', 'b']",
                "default must be one of 'a', 'b', but is 'c'",
            ),
            ("type = 'string'\nvalues = []", "values must list 1 to 64 texts, but lists 0"),
            ("type = 'string'\nvalues = ['a', 'b', 'a']", "values 'a' is listed twice"),
            ("type = 'boolean'\nvalues = ['a']", "values only strings have one"),
            ("type = 'string'\nminimum = 1", "minimum only numbers have one"),
            ("type = 'boolean'\nmaximum = 1", "maximum only numbers have one"),
            ("type = 'boolean'\ndefault = true\noptional = true", "optional is only for settings"),
            (&long, "values 'aaaa"),
            (&many, "values must list 1 to 64 texts, but lists 65"),
            (&longest, "default must have at most 16384 bytes, but has 16385"),
        ] {
            let (_, faults) = declare(toml);
            let [fault] = faults.as_slice() else { panic!("{toml}: {faults:?}") };
            assert!(fault.starts_with(expected), "{toml}: {fault}");
        }
        let (_, faults) = declare("type = 'boolean'\nminimum = 1\nvalues = []\ndefault = 1");
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn a_text_is_taken_in_its_shortest_form_or_refused() {
        let integer = Type::Integer { minimum: None, maximum: Some(100) };
        let number = Type::Number { minimum: Some(-1.0), maximum: None };
        let string = Type::String { values: Vec::new() };
        for (of, text, expected) in [
            (&integer, "7", Some("7")),
            (&integer, "007", Some("7")),
            (&integer, "+7", Some("7")),
            (&integer, "101", None),
            (&integer, "1.5", None),
            (&integer, "", None),
            (&integer, "9223372036854775808", None),
            (&number, "0.50", Some("0.5")),
            (&number, "-1", Some("-1")),
            (&number, "-1.1", None),
            (&number, "inf", None),
            (&number, "NaN", None),
            (&number, "1e999", None),
            (&number, "ten", None),
            (&Type::Boolean, "true", Some("true")),
            (&Type::Boolean, "True", None),
            (&Type::Boolean, "1", None),
            (&string, "anything\n", Some("anything\n")),
        ] {
            let accepted = of.accept(text).ok().map(|setting| setting.0);
            assert_eq!(accepted.as_deref(), expected, "{of}: {text}");
        }
        let error = integer.accept("\u{1b}[2J").unwrap_err();
        assert!(!error.contains('\u{1b}'), "an error does not control a terminal: {error}");
    }
}
