//! A manifest's text as TOML, read part by part, so that a fault in one part hides none in another.
//!
//! The text may be hostile: what is nested deeply is refused before anything recurses over it. Out of
//! scope: what the parts mean.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml_parser::parser::{RecursionGuard, parse_document};
use toml_parser::{ParseError, Source};

use super::ManifestErrors;
use crate::diagnose::{Mistake, key_at, message, unknown_key};
use crate::plugin::declared::shown;

/// The deepest nesting of brackets, and of tables and arrays together.
///
/// TOML of 10 KiB can nest 6,000 tables: brackets 80 deep, with keys of 80 parts in each. What parses,
/// copies and drops a table recurses.
const MAX_DEPTH: usize = 16;
/// The most faults that are listed.
const MAX_FAULTS: usize = 128;
/// As much of a fault as is shown.
const MAX_MESSAGE_CHARS: usize = 1_024;

/// A manifest that is TOML, and not nested too deeply.
pub(super) struct Document<'t> {
    table: DeTable<'t>,
    /// Where each line ends.
    line_ends: Vec<usize>,
}

impl<'t> Document<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Mistake> {
        let too_deep = |line| Mistake {
            line,
            key: None,
            message: format!("a manifest is nested at most {MAX_DEPTH} deep"),
        };
        let line_ends: Vec<_> = text.match_indices('\n').map(|(at, _)| at).collect();
        if let Some(at) = brackets_too_deep(text) {
            return Err(too_deep(Some(line_of(&line_ends, at))));
        }
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(&line_ends, span.start));
            Mistake { line, key: None, message: message(&error) }
        })?;
        match key_too_deep(table.get_ref()) {
            Some(at) => Err(too_deep(Some(line_of(&line_ends, at)))),
            None => Ok(Self { table: table.into_inner(), line_ends }),
        }
    }

    fn value(&self, path: &Path<'_>) -> Option<&Spanned<DeValue<'t>>> {
        self.follow(path).1
    }

    /// Where the last step of `path` that exists starts, and the value there if it is the last of all.
    fn follow(&self, path: &Path<'_>) -> (Option<usize>, Option<&Spanned<DeValue<'t>>>) {
        let mut start = None;
        let mut here: Option<&Spanned<DeValue<'t>>> = None;
        for step in &path.0 {
            let next = match (step, here.map(Spanned::get_ref)) {
                (Step::Key(key), None) => self.table.get_key_value(key.as_ref()),
                (Step::Key(key), Some(DeValue::Table(table))) => table.get_key_value(key.as_ref()),
                (Step::Index(index), Some(DeValue::Array(values))) => {
                    let Some(value) = values.get(*index) else { return (start, None) };
                    (start, here) = (Some(value.span().start), Some(value));
                    continue;
                }
                _ => None,
            };
            let Some((key, value)) = next else { return (start, None) };
            (start, here) = (Some(key.span().start), Some(value));
        }
        (start, here)
    }
}

fn line_of(line_ends: &[usize], at: usize) -> usize {
    1 + line_ends.partition_point(|end| *end < at)
}

/// Where brackets are nested too deeply, by the same parser with a lower limit than its own.
fn brackets_too_deep(text: &str) -> Option<usize> {
    let tokens = Source::new(text).lex().into_vec();
    let mut at = None;
    let mut ignore = ();
    let mut guard = RecursionGuard::new(&mut ignore, MAX_DEPTH as u32);
    // Other errors are found when the text is parsed.
    let mut report = |error: ParseError| {
        if error.description().contains("recursion depth") {
            at = at.or(error.unexpected().map(|span| span.start()).or(Some(0)));
        }
    };
    parse_document(&tokens, &mut guard, &mut report);
    at
}

/// Where a key is nested too deeply. Does not recurse.
fn key_too_deep(table: &DeTable<'_>) -> Option<usize> {
    let mut open: Vec<_> = table.values().map(|value| (1, value)).collect();
    while let Some((depth, value)) = open.pop() {
        if depth > MAX_DEPTH {
            return Some(value.span().start);
        }
        match value.get_ref() {
            DeValue::Table(table) => open.extend(table.values().map(|value| (depth + 1, value))),
            DeValue::Array(values) => open.extend(values.iter().map(|value| (depth + 1, value))),
            _ => {}
        }
    }
    None
}

/// The way to a value: `samples[2].headers`.
#[derive(Clone, Debug)]
pub(super) struct Path<'a>(Vec<Step<'a>>);

#[derive(Clone, Debug)]
enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The way to a key at the top level.
    pub(super) fn to(key: impl Into<Cow<'a, str>>) -> Self {
        Self(vec![Step::Key(key.into())])
    }

    /// The way to a key of the table at the end of this way.
    pub(super) fn key(&self, key: impl Into<Cow<'a, str>>) -> Self {
        self.and(Step::Key(key.into()))
    }

    /// The way to an element of the array at the end of this way.
    pub(super) fn index(&self, index: usize) -> Self {
        self.and(Step::Index(index))
    }

    fn and(&self, step: Step<'a>) -> Self {
        let mut path = self.clone();
        path.0.push(step);
        path
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if place == 0 => f.write_str(&shown(key))?,
                Step::Key(key) => write!(f, ".{}", shown(key))?,
            }
        }
        Ok(())
    }
}

/// Reads the parts of a document, and collects what is wrong with them.
pub(super) struct Reader<'d> {
    document: &'d Document<'d>,
    faults: Vec<Mistake>,
    /// How many faults are not listed.
    more: usize,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Document<'d>) -> Self {
        Self { document, faults: Vec::new(), more: 0 }
    }

    /// All faults, in the order of their lines.
    pub(super) fn errors(mut self) -> Option<ManifestErrors> {
        self.faults.sort_by_key(|fault| fault.line);
        (!self.faults.is_empty()).then_some(ManifestErrors { faults: self.faults, more: self.more })
    }

    /// Notes what is wrong with what is at `path`, or should be there.
    pub(super) fn fault(&mut self, path: &Path<'_>, problem: impl Into<String>) {
        if self.is_listed() {
            let at = self.document.follow(path).0;
            self.add(at, Some(path.to_string()), problem.into());
        }
    }

    /// Whether the next fault is listed. Otherwise it is counted, and not looked into.
    fn is_listed(&mut self) -> bool {
        let is_listed = self.faults.len() < MAX_FAULTS;
        self.more += usize::from(!is_listed);
        is_listed
    }

    fn add(&mut self, at: Option<usize>, key: Option<String>, mut message: String) {
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARS) {
            message.truncate(end);
            message.push('…');
        }
        let line = at.map(|at| line_of(&self.document.line_ends, at));
        self.faults.push(Mistake { line, key, message });
    }

    /// The line of what is at `path`, or of the last step of it that is there; 0 if there is none.
    pub(super) fn line(&self, path: &Path<'_>) -> usize {
        self.document.follow(path).0.map_or(0, |at| line_of(&self.document.line_ends, at))
    }

    /// Whether there is anything at `path`.
    pub(super) fn has(&self, path: &Path<'_>) -> bool {
        self.document.value(path).is_some()
    }

    /// The value at `path`, if there is one and it is a `T`.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, path: &Path<'_>) -> Option<T> {
        let value = self.document.value(path)?;
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(value) => Some(value),
            Err(_) if !self.is_listed() => None,
            Err(error) => {
                let span = error.span().unwrap_or_else(|| value.span());
                let key = key_at(&self.document.table, &span).map(|key| shown_key(&key));
                self.add(Some(span.start), key, message(&error));
                None
            }
        }
    }

    /// The value at `path`, if it is a `T`. It must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, path: &Path<'_>) -> Option<T> {
        if !self.has(path) {
            self.fault(path, "is missing");
        }
        self.optional(path)
    }

    /// Notes the keys at the top level that are not among `known`.
    pub(super) fn only(&mut self, known: &[&str]) {
        for key in self.document.table.keys() {
            let name = key.get_ref();
            if !known.contains(&name.as_ref()) && self.is_listed() {
                let message = unknown_key(&shown(name), known);
                self.add(Some(key.span().start), Some(shown(name)), message);
            }
        }
    }

    /// The names in the table at `path`, at most `most`: more are a fault, and are not read.
    pub(super) fn names(&mut self, path: &Path<'_>, most: usize) -> Vec<&'d str> {
        let Some(value) = self.document.value(path) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.fault(path, "must be a table");
            return Vec::new();
        };
        self.at_most(path, table.len(), most);
        table.keys().take(most).map(|key| key.get_ref().as_ref()).collect()
    }

    /// The length of the array at `path`, at most `most`: more are a fault, and are not read.
    pub(super) fn length(&mut self, path: &Path<'_>, most: usize) -> usize {
        let Some(value) = self.document.value(path) else { return 0 };
        let DeValue::Array(values) = value.get_ref() else {
            self.fault(path, format!("must be a list of tables, each below [[{path}]]"));
            return 0;
        };
        self.at_most(path, values.len(), most);
        values.len().min(most)
    }

    fn at_most(&mut self, path: &Path<'_>, count: usize, most: usize) {
        if count > most {
            self.fault(path, format!("there are {count}, but at most {most} are read"));
        }
    }
}

/// The end of a path is what it is about.
fn shown_key(key: &str) -> String {
    const MAX_CHARS: usize = 256;
    let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    match key.chars().count().checked_sub(MAX_CHARS) {
        Some(left_out @ 1..) => {
            format!("…{}", key.chars().skip(left_out).map(printable).collect::<String>())
        }
        _ => key.chars().map(printable).collect(),
    }
}
