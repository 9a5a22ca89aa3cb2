//! The request's grammar: turns JSON into a checked [`SearchRequest`], or into a failure that tells
//! the client what to fix. It calls nothing: settings are passed in as [`Defaults`].

use weir_sdk::Failure;
use weir_sdk::collections::Filter;
use weir_sdk::serde_json::{self, Map, Value};

use crate::describe::described;
use crate::filter;

/// The longest query, in bytes of UTF-8.
pub const MAX_QUERY_BYTES: usize = 8 * 1024;
/// The most documents in an answer.
pub const MAX_LIMIT: u32 = 100;
/// The most documents that an answer can skip.
pub const MAX_OFFSET: u32 = 9_900;

const MEMBERS: [&str; 7] =
    ["query", "collection", "mode", "limit", "offset", "filter", "minimum_score"];

/// How documents are ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By the similarity of vectors.
    Dense,
    /// By words, weighed by BM25.
    Keyword,
    /// By both rankings, fused.
    Hybrid,
}

impl Mode {
    /// The mode's name in requests, answers and settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Keyword => "keyword",
            Self::Hybrid => "hybrid",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Dense, Self::Keyword, Self::Hybrid].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// The values for members that a request leaves out, from the deployment's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Defaults {
    /// The setting `collection`; without it, requests must name one.
    pub collection: Option<String>,
    /// The setting `mode`, by default hybrid.
    pub mode: Mode,
    /// The setting `limit`, by default 10.
    pub limit: u32,
    /// The setting `model`, which embeds queries; `None` is the model that indexes the
    /// collections.
    pub model: Option<String>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { collection: None, mode: Mode::Hybrid, limit: 10, model: None }
    }
}

impl Defaults {
    /// Reads the settings. An invalid one is the operator's fault: the failure `invalid-settings`.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut defaults = Self::default();
        if let Some(name) = setting("collection") {
            if !is_name(&name) {
                return Err(bad_setting("collection", &name, NAME_RULE));
            }
            defaults.collection = Some(name);
        }
        if let Some(name) = setting("mode") {
            let mode = Mode::from_name(&name);
            defaults.mode = mode.ok_or_else(|| bad_setting("mode", &name, MODE_RULE))?;
        }
        if let Some(text) = setting("limit") {
            let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
            defaults.limit = limit.ok_or_else(|| bad_setting("limit", &text, LIMIT_RULE))?;
        }
        defaults.model = setting("model");
        Ok(defaults)
    }
}

/// A valid request with all its defaults.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// The text to search for: not blank, and at most [`MAX_QUERY_BYTES`].
    pub query: String,
    /// A valid name; the collection need not exist.
    pub collection: String,
    /// How documents are ranked.
    pub mode: Mode,
    /// 1 to [`MAX_LIMIT`].
    pub limit: u32,
    /// 0 to [`MAX_OFFSET`].
    pub offset: u32,
    /// Which documents can be found.
    pub filter: Option<Filter>,
    /// The lowest score of a result; finite.
    pub minimum_score: Option<f32>,
}

const NAME_RULE: &str =
    "1 to 64 characters (a-z, 0-9, '.', '_', '-') that begin with a letter or a digit";
const MODE_RULE: &str = "one of \"dense\", \"keyword\" and \"hybrid\"";
const LIMIT_RULE: &str = "an integer from 1 to 100";
const OFFSET_RULE: &str = "an integer from 0 to 9900";

impl SearchRequest {
    /// Reads a body. To get the default, a request leaves a member out; `null` is refused like any
    /// other wrong type.
    pub fn parse(body: &[u8], defaults: &Defaults) -> Result<Self, Failure> {
        let mut members: Map<String, Value> = serde_json::from_slice(body).map_err(|error| {
            invalid("invalid-body", format!("the body must be a JSON object with 'query': {error}"))
        })?;
        if let Some(name) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            let known = MEMBERS.join("', '");
            return Err(invalid(
                "unknown-field",
                format!("unknown field '{name}': the fields are '{known}'"),
            ));
        }
        Ok(Self {
            query: query(members.remove("query"))?,
            collection: match members.remove("collection") {
                Some(value) => collection(&value)?,
                None => defaults.collection.clone().ok_or_else(no_collection)?,
            },
            mode: members.get("mode").map_or(Ok(defaults.mode), mode)?,
            limit: members.get("limit").map_or(Ok(defaults.limit), |value| {
                integer(value, 1, MAX_LIMIT)
                    .ok_or_else(|| wrong("invalid-limit", "limit", LIMIT_RULE, value))
            })?,
            offset: members.get("offset").map_or(Ok(0), |value| {
                integer(value, 0, MAX_OFFSET)
                    .ok_or_else(|| wrong("invalid-offset", "offset", OFFSET_RULE, value))
            })?,
            filter: members.get("filter").map(filter::parse).transpose()?,
            minimum_score: members.get("minimum_score").map(minimum_score).transpose()?,
        })
    }
}

fn query(value: Option<Value>) -> Result<String, Failure> {
    let problem = match value {
        None => "'query' is missing: it is the text to search for".into(),
        Some(Value::String(text)) if text.trim().is_empty() => {
            "'query' is blank: it must be the text to search for".into()
        }
        Some(Value::String(text)) if text.len() > MAX_QUERY_BYTES => {
            format!("'query' has {} bytes, but at most {MAX_QUERY_BYTES} are allowed", text.len())
        }
        Some(Value::String(text)) => return Ok(text),
        Some(other) => return Err(wrong("invalid-query", "query", "a string", &other)),
    };
    Err(invalid("invalid-query", problem))
}

fn collection(value: &Value) -> Result<String, Failure> {
    match value.as_str() {
        Some(name) if is_name(name) => Ok(name.into()),
        _ => Err(wrong("invalid-collection", "collection", NAME_RULE, value)),
    }
}

fn no_collection() -> Failure {
    invalid("invalid-collection", "'collection' is missing, and this deployment has no default")
}

fn mode(value: &Value) -> Result<Mode, Failure> {
    let mode = value.as_str().and_then(Mode::from_name);
    mode.ok_or_else(|| wrong("invalid-mode", "mode", MODE_RULE, value))
}

fn minimum_score(value: &Value) -> Result<f32, Failure> {
    let score = value.as_f64().map(|score| score as f32).filter(|score| score.is_finite());
    score.ok_or_else(|| wrong("invalid-minimum-score", "minimum_score", "a number", value))
}

/// Accepts only plain integers: `10.0` and `1e1` are spelled differently, so they have other keys.
fn integer(value: &Value, least: u32, most: u32) -> Option<u32> {
    let integer = u32::try_from(value.as_u64()?).ok()?;
    (least..=most).contains(&integer).then_some(integer)
}

fn is_name(name: &str) -> bool {
    let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let rest = |byte: &u8| first(byte) || matches!(byte, b'.' | b'_' | b'-');
    let bytes = name.as_bytes();
    bytes.len() <= 64 && bytes.first().is_some_and(first) && bytes.iter().all(rest)
}

fn invalid(code: &str, message: impl Into<String>) -> Failure {
    Failure::invalid_request(code, message)
}

fn wrong(code: &str, member: &str, rule: &str, value: &Value) -> Failure {
    invalid(code, format!("'{member}' must be {rule}, but is {}", described(value)))
}

fn bad_setting(name: &str, text: &str, rule: &str) -> Failure {
    let message = format!("the setting '{name}' must be {rule}, but is '{text}'");
    Failure::failed("invalid-settings", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        Defaults { collection: Some("books".into()), ..Defaults::default() }
    }

    fn parse(body: &str) -> Result<SearchRequest, (String, String)> {
        SearchRequest::parse(body.as_bytes(), &defaults()).map_err(code_and_message)
    }

    fn code_and_message(failure: Failure) -> (String, String) {
        (failure.code().to_owned(), failure.message().to_owned())
    }

    /// Asserts that the body is refused with this code and a message that contains this text.
    fn refused(body: &str, code: &str, text: &str) {
        let (actual, message) = parse(body).err().unwrap_or_else(|| panic!("{body} is accepted"));
        assert_eq!(actual, code, "{body}: {message}");
        assert!(message.contains(text), "{body}: {message}");
    }

    #[test]
    fn only_the_query_is_required() {
        let request = parse(r#"{"query":"q"}"#).unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((request.query.as_str(), request.collection.as_str()), ("q", "books"));
        assert_eq!((request.mode, request.limit, request.offset), (Mode::Hybrid, 10, 0));
        assert!(request.filter.is_none() && request.minimum_score.is_none());
    }

    #[test]
    fn every_member_is_read() {
        let request = parse(
            r#"{"query":" q ","collection":"a.b-c_d","mode":"dense","limit":100,"offset":9900,
                "filter":{"must":[{"field":"f","exists":true}]},"minimum_score":-0.5}"#,
        );
        let request = request.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((request.query.as_str(), request.collection.as_str()), (" q ", "a.b-c_d"));
        assert_eq!((request.mode, request.limit, request.offset), (Mode::Dense, 100, 9_900));
        assert_eq!(request.filter.map(|filter| filter.must.len()), Some(1));
        assert_eq!(request.minimum_score, Some(-0.5));
    }

    #[test]
    fn only_an_object_with_known_fields_is_accepted() {
        for body in ["", "nothing", "[]", "\"q\"", "null"] {
            refused(body, "invalid-body", "JSON object");
        }
        refused(r#"{"query":"q","limti":1}"#, "unknown-field", "'limti'");
        refused(r#"{"query":"q","Query":"q"}"#, "unknown-field", "'Query'");
    }

    #[test]
    fn a_query_is_words() {
        for body in ["{}", r#"{"query":""}"#, r#"{"query":" \n\u3000"}"#] {
            refused(body, "invalid-query", "the text to search for");
        }
        for query in ["null", "1", "true", r#"["q"]"#, r#"{"q":1}"#] {
            refused(&format!(r#"{{"query":{query}}}"#), "invalid-query", "must be a string");
        }
        let longest = "q".repeat(MAX_QUERY_BYTES);
        assert!(parse(&format!(r#"{{"query":"{longest}"}}"#)).is_ok());
        refused(&format!(r#"{{"query":"{longest}q"}}"#), "invalid-query", "8193 bytes");
    }

    #[test]
    fn a_member_of_a_wrong_type_or_range_is_refused() {
        let long_name = format!("\"{}\"", "a".repeat(65));
        for (member, code, values) in [
            (
                "collection",
                "invalid-collection",
                ["\"\"", "\"A\"", "\"-a\"", "\"a/b\"", &long_name, "1", "null"].as_slice(),
            ),
            ("mode", "invalid-mode", &["\"\"", "\"Dense\"", "\"sparse\"", "1", "null"]),
            (
                "limit",
                "invalid-limit",
                &["\"10\"", "1.5", "0", "101", "-1", "10.0", "1e1", "4294967297", "true", "null"],
            ),
            ("offset", "invalid-offset", &["\"0\"", "0.5", "-1", "9901", "0.0", "[]", "null"]),
            ("minimum_score", "invalid-minimum-score", &["\"0.5\"", "1e39", "{}", "null"]),
            ("filter", "invalid-filter", &["[]", "\"f\"", "null"]),
        ] {
            for value in values {
                refused(&format!(r#"{{"query":"q","{member}":{value}}}"#), code, member);
            }
        }
    }

    #[test]
    fn without_a_default_a_collection_must_be_named() {
        let failure = SearchRequest::parse(br#"{"query":"q"}"#, &Defaults::default());
        let (code, message) = code_and_message(failure.err().unwrap_or_else(|| panic!("taken")));
        assert_eq!(code, "invalid-collection", "{message}");
    }

    #[test]
    fn settings_are_defaults_and_an_invalid_one_is_the_operators_fault() {
        let read = |settings: &[(&str, &str)]| {
            Defaults::from_settings(|name| {
                let found = settings.iter().find(|(known, _)| *known == name);
                found.map(|(_, text)| (*text).to_owned())
            })
        };
        let all = [("collection", "c"), ("mode", "keyword"), ("limit", "5"), ("model", "m")];
        let expected = Defaults {
            collection: Some("c".into()),
            mode: Mode::Keyword,
            limit: 5,
            model: Some("m".into()),
        };
        assert_eq!(read(&all).ok(), Some(expected));
        assert_eq!(read(&[]).ok(), Some(Defaults::default()));
        for (name, text) in [("collection", "C"), ("mode", ""), ("limit", "101"), ("limit", "x")] {
            let failure = read(&[(name, text)]).err().unwrap_or_else(|| panic!("{name}={text}"));
            let (code, message) = code_and_message(failure);
            assert_eq!(code, "invalid-settings");
            assert!(message.contains(&format!("'{name}'")), "{message}");
        }
    }
}
