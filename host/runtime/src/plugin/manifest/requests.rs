//! The requests of a manifest: samples for the smoke call, and the author's test cases.
//!
//! They are read into the form that a pipeline gets: canonical JSON, a query and headers. Out of scope:
//! making them ([`crate::trial`]), and comparing answers ([`crate::plugin::expected`]).

use std::collections::{BTreeMap, BTreeSet};

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::Value;
use weir_core::json::{CanonicalJson, JsonLimits, canonicalize};

use super::document::{Path, Reader};
use super::is_text;
use crate::plugin::declared::shown;

/// The most samples.
const MAX_SAMPLES: usize = 16;
/// The most cases.
const MAX_CASES: usize = 256;
/// The most headers of a request, and that a case expects.
const MAX_HEADERS: usize = 32;
/// The longest query.
const MAX_QUERY_BYTES: usize = 4 << 10;
/// The longest name of a case.
const MAX_NAME_CHARS: usize = 128;

/// A request: `POST`, to wherever the pipeline is deployed.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The line of the manifest that it begins in.
    pub line: usize,
    /// Its body.
    pub body: CanonicalJson,
    /// Its query, percent-encoded, without `?`; empty if it has none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
}

/// `[[cases]]`: a request, and what its answer must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it is called; no other case of the manifest is.
    pub name: String,
    /// The request.
    pub request: Request,
    /// What is expected.
    pub expect: Expect,
}

/// What a case expects of an answer. What is not stated is not compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// The status.
    pub status: Option<u16>,
    /// A part of the body, which is JSON: objects in the answer may have further members.
    pub body: Option<serde_json::Value>,
    /// Headers with these values, among others.
    pub headers: HeaderMap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSample {
    body: Option<Value>,
    text: Option<String>,
    query: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: String,
    body: Option<Value>,
    text: Option<String>,
    query: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    expect: WrittenExpect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExpect {
    status: Option<u16>,
    body: Option<Value>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Reads `[[samples]]`.
pub(super) fn samples(reader: &mut Reader<'_>) -> Vec<Request> {
    let all = Path::to("samples");
    let mut samples = Vec::new();
    for index in 0..reader.length(&all, MAX_SAMPLES) {
        let path = all.index(index);
        let written = reader.optional(&path);
        samples.extend(written.and_then(|written| request(reader, &path, written)));
    }
    samples
}

/// Reads `[[cases]]`.
pub(super) fn cases(reader: &mut Reader<'_>) -> Vec<Case> {
    let all = Path::to("cases");
    let (mut cases, mut names) = (Vec::new(), BTreeSet::new());
    for index in 0..reader.length(&all, MAX_CASES) {
        let path = all.index(index);
        let Some(written) = reader.optional::<WrittenCase>(&path) else { continue };
        let WrittenCase { name, body, text, query, headers, expect } = written;
        if !is_text(&name, MAX_NAME_CHARS) {
            let problem = format!("must be 1 to {MAX_NAME_CHARS} characters on one line");
            reader.fault(&path.key("name"), problem);
        } else if !names.insert(name.clone()) {
            reader.fault(&path.key("name"), format!("another case is called '{}'", shown(&name)));
        }
        let request = request(reader, &path, WrittenSample { body, text, query, headers });
        let expect = expected(reader, &path.key("expect"), expect);
        cases.extend(request.zip(expect).map(|(request, expect)| Case { name, request, expect }));
    }
    cases
}

/// The request that is written at `path`.
fn request(reader: &mut Reader<'_>, path: &Path<'_>, written: WrittenSample) -> Option<Request> {
    let WrittenSample { body, text, query, headers } = written;
    let headers = read_headers(reader, &path.key("headers"), headers);
    let query = read_query(reader, &path.key("query"), query.unwrap_or_default());
    let (key, text) = match (body, text) {
        (Some(body), None) => {
            let key = path.key("body");
            let body = json(&body).map_err(|problem| reader.fault(&key, problem)).ok()?;
            (key, body.to_string())
        }
        (None, Some(text)) => (path.key("text"), text),
        (Some(_), Some(_)) => {
            reader.fault(&path.key("text"), "is a second body: write either 'body' or 'text'");
            return None;
        }
        (None, None) => {
            let problem = "has no body: write 'body' as TOML, or 'text' as JSON";
            reader.fault(path, problem);
            return None;
        }
    };
    let body = canonicalize(text, JsonLimits::default());
    let body = body.map_err(|error| reader.fault(&key, error.to_string())).ok()?;
    let line = reader.line(path);
    Some(Request { line, body, query: query?, headers: headers? })
}

fn expected(reader: &mut Reader<'_>, path: &Path<'_>, written: WrittenExpect) -> Option<Expect> {
    let WrittenExpect { status, body, headers } = written;
    if status.is_none() && body.is_none() && headers.is_empty() {
        reader.fault(path, "expects nothing: state a status, a body or headers");
    }
    if let Some(status) = status.filter(|status| !(200..=599).contains(status)) {
        reader.fault(&path.key("status"), format!("must be 200 to 599, but is {status}"));
    }
    let body = body.map(|body| json(&body)).transpose();
    let body = body.map_err(|problem| reader.fault(&path.key("body"), problem)).ok();
    let headers = read_headers(reader, &path.key("headers"), headers);
    Some(Expect { status, body: body?, headers: headers? })
}

fn read_query(reader: &mut Reader<'_>, path: &Path<'_>, query: String) -> Option<String> {
    if query.len() > MAX_QUERY_BYTES {
        reader.fault(path, format!("must have at most {MAX_QUERY_BYTES} bytes"));
        return None;
    }
    let target = PathAndQuery::try_from(format!("/?{query}"));
    // What follows a '#' would not be sent.
    if target.is_err() || query.starts_with('?') || query.contains('#') {
        let problem = "must be a query without '?', percent-encoded: \"a=b&c=d%20e\"";
        reader.fault(path, problem);
        return None;
    }
    Some(query)
}

fn read_headers(
    reader: &mut Reader<'_>,
    path: &Path<'_>,
    written: BTreeMap<String, String>,
) -> Option<HeaderMap> {
    if written.len() > MAX_HEADERS {
        let count = written.len();
        reader.fault(path, format!("there are {count}, but at most {MAX_HEADERS} are read"));
        return None;
    }
    let mut headers = HeaderMap::new();
    let count = written.len();
    for (name, value) in written {
        let at = path.key(name.clone());
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Err(_), _) => reader.fault(&at, "is not the name of a header"),
            (_, Err(_)) => reader.fault(&at, "is not the value of a header"),
            (Ok(name), Ok(value)) => {
                if headers.insert(name, value).is_some() {
                    reader.fault(&at, "is the name of another header, in other letters");
                }
            }
        }
    }
    (headers.len() == count).then_some(headers)
}

/// The JSON of a TOML value. Recurses as deep as a document may be nested.
fn json(value: &Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .map(serde_json::Value::Number)
            .ok_or("has a number that JSON does not have: nan or inf")?,
        Value::Boolean(value) => (*value).into(),
        Value::Datetime(_) => return Err("has a date, which JSON does not have: write a string"),
        Value::Array(values) => values.iter().map(json).collect::<Result<_, _>>()?,
        Value::Table(table) => {
            let members = table.iter().map(|(name, value)| Ok((name.clone(), json(value)?)));
            serde_json::Value::Object(members.collect::<Result<_, &'static str>>()?)
        }
    })
}
