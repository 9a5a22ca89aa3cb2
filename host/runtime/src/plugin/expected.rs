//! Compares an answer with what a case of a manifest expects.
//!
//! What is expected is a part: an object may have further members, and a header further values. An array has as
//! many elements as are expected, each of which may have more. Numbers are compared as they are written, so that `1`
//! is not `1.0`, and 2⁵³ not 2⁵³ + 1. The number of differences is bounded by what is expected, not by the
//! answer. Out of scope: making an answer ([`crate::trial`]).

use std::collections::BTreeMap;
use std::fmt;

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::manifest::Expect;

/// As much of a value as is shown.
const MAX_SHOWN_CHARS: usize = 200;
/// What is shown of something that is missing.
const NOTHING: &str = "nothing";

/// An answer as a client gets it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The status.
    pub status: u16,
    /// The headers, with the content type.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// Something that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: `status`, `headers.content-type`, `body.results[0].id`.
    pub path: String,
    /// What is expected there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, found } = self;
        write!(f, "{path}: expected {expected}, found {found}")
    }
}

impl Expect {
    /// What of an answer is not as expected: nothing if it is.
    #[must_use]
    pub fn differences(&self, seen: Seen<'_>) -> Vec<Difference> {
        let mut differences = Differences(Vec::new());
        if let Some(status) = self.status.filter(|status| *status != seen.status) {
            differences.add("status", &status.to_string(), &seen.status.to_string());
        }
        for (name, expected) in &self.headers {
            let found: Vec<_> = seen.headers.get_all(name).iter().collect();
            if !found.contains(&expected) {
                let text = |value: &http::HeaderValue| {
                    format!("'{}'", String::from_utf8_lossy(value.as_bytes()))
                };
                let values: Vec<_> = found.iter().map(|value| text(value)).collect();
                let found = if values.is_empty() { NOTHING.to_owned() } else { values.join(", ") };
                differences.add(&format!("headers.{name}"), &text(expected), &found);
            }
        }
        if let Some(expected) = &self.body {
            match serde_json::from_slice::<&RawValue>(seen.body) {
                Ok(found) => differences.compare("body", expected, found),
                Err(_) => {
                    let found = String::from_utf8_lossy(seen.body);
                    let found = format!("what is not JSON: '{found}'");
                    differences.add("body", &expected.to_string(), &found);
                }
            }
        }
        differences.0
    }
}

struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, path: &str, expected: &str, found: &str) {
        let path = shown(path);
        self.0.push(Difference { path, expected: shown(expected), found: shown(found) });
    }

    /// Recurses as deep as a manifest may be nested.
    fn compare(&mut self, path: &str, expected: &Value, found: &RawValue) {
        let text = found.get();
        let is_same = match expected {
            Value::Object(members) => {
                match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
                    Ok(found) => {
                        for (name, expected) in members {
                            let path = member(path, name);
                            match found.get(name) {
                                Some(found) => self.compare(&path, expected, found),
                                None => self.add(&path, &expected.to_string(), NOTHING),
                            }
                        }
                        true
                    }
                    Err(_) => false,
                }
            }
            Value::Array(values) => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(found) if found.len() == values.len() => {
                    for (index, (expected, found)) in values.iter().zip(found).enumerate() {
                        self.compare(&format!("{path}[{index}]"), expected, found);
                    }
                    true
                }
                Ok(found) => {
                    let count = |count: usize| format!("an array of {count}");
                    self.add(path, &count(values.len()), &count(found.len()));
                    true
                }
                Err(_) => false,
            },
            Value::String(expected) => {
                serde_json::from_str::<String>(text).is_ok_and(|found| found == *expected)
            }
            Value::Number(expected) => expected.to_string() == text,
            Value::Bool(expected) => text == if *expected { "true" } else { "false" },
            Value::Null => text == "null",
        };
        if !is_same {
            self.add(path, &expected.to_string(), text);
        }
    }
}

/// The path of a member of an object.
fn member(path: &str, name: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    match !name.is_empty() && name.bytes().all(is_plain) {
        true => format!("{path}.{name}"),
        false => format!("{path}.{}", Value::from(name)),
    }
}

/// The beginning of a text, without what controls a terminal.
fn shown(text: &str) -> String {
    let printable = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let mut shown: String = text.chars().take(MAX_SHOWN_CHARS).map(printable).collect();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::HeaderValue;

    use super::*;
    use crate::plugin::manifest::Manifest;

    /// What a case expects that is written like that.
    fn expect(written: &str) -> Expect {
        let text = format!(
            "name = 'a'\nversion = '1'\nrole = 'pipeline'\nwit = '0.2.0'\n[[cases]]\nname = 'c'\nbody = {{}}\n\
             {written}\n"
        );
        Manifest::parse(&text).unwrap().cases.remove(0).expect
    }

    /// The differences of an answer with status 200, this body and a few headers.
    fn differences(written: &str, body: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.append("link", HeaderValue::from_static("one"));
        headers.append("link", HeaderValue::from_static("two"));
        let seen = Seen { status: 200, headers: &headers, body: body.as_bytes() };
        expect(written).differences(seen).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_part_of_the_answer_is_enough() {
        for (written, body) in [
            ("expect.status = 200", "whatever"),
            ("expect.headers.content-type = 'application/json'", ""),
            ("expect.headers.Link = 'two'", ""),
            ("expect.body = {}", r#"{"a":1}"#),
            ("expect.body = { a = 1 }", r#" { "b" : [], "a" : 1 } "#),
            ("expect.body = { a = { b = {} } }", r#"{"a":{"b":{"c":1},"d":2}}"#),
            ("expect.body = [{ a = 1 }, {}]", r#"[{"a":1,"b":2},{"c":3}]"#),
            ("expect.body = []", "[]"),
            ("expect.body = 'é\"'", r#""\u00e9\"""#),
            ("expect.body = true", "true"),
            ("expect.body = 9007199254740993", "9007199254740993"),
            ("expect.body = -1", "-1"),
            ("expect.body = 0.5", "0.5"),
            ("expect.body = 1.0", "1.0"),
            ("expect.body.'a b' = 1", r#"{"a b":1}"#),
        ] {
            assert_eq!(differences(written, body), [""; 0], "{written}: {body}");
        }
    }

    #[test]
    fn each_difference_is_said_with_its_place() {
        for (written, body, expected) in [
            ("expect.status = 404", "", &["status: expected 404, found 200"][..]),
            (
                "expect.headers = { content-type = 'text/plain', x-a = 'b' }",
                "",
                &[
                    "headers.content-type: expected 'text/plain', found 'application/json'",
                    "headers.x-a: expected 'b', found nothing",
                ],
            ),
            ("expect.headers.link = 'o'", "", &["headers.link: expected 'o', found 'one', 'two'"]),
            ("expect.body = 1", "{", &["body: expected 1, found what is not JSON: '{'"]),
            ("expect.body = 1", "", &["body: expected 1, found what is not JSON: ''"]),
            ("expect.body = 1", "1 1", &["body: expected 1, found what is not JSON: '1 1'"]),
            ("expect.body = 1", "1.0", &["body: expected 1, found 1.0"]),
            ("expect.body = 1", "\"1\"", &["body: expected 1, found \"1\""]),
            ("expect.body = 1.0", "1", &["body: expected 1.0, found 1"]),
            (
                "expect.body = 9007199254740992",
                "9007199254740993",
                &["body: expected 9007199254740992, found 9007199254740993"],
            ),
            ("expect.body = true", "false", &["body: expected true, found false"]),
            ("expect.body = true", "null", &["body: expected true, found null"]),
            ("expect.body = 'true'", "true", &["body: expected \"true\", found true"]),
            ("expect.body = 'a'", "\"b\"", &["body: expected \"a\", found \"b\""]),
            ("expect.body = {}", "[]", &["body: expected {}, found []"]),
            ("expect.body = []", "{}", &["body: expected [], found {}"]),
            ("expect.body = [1]", "[1,2]", &["body: expected an array of 1, found an array of 2"]),
            (
                "expect.body = [1, 2]",
                "[2,1]",
                &["body[0]: expected 1, found 2", "body[1]: expected 2, found 1"],
            ),
            (
                "expect.body = { results = [{ id = 'a' }], 'a b' = 1, c = {} }",
                r#"{"results":[{"id":"b"}],"c":null}"#,
                &[
                    "body.\"a b\": expected 1, found nothing",
                    "body.c: expected {}, found null",
                    "body.results[0].id: expected \"a\", found \"b\"",
                ],
            ),
        ] {
            assert_eq!(differences(written, body), expected, "{written}: {body}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_controls_no_terminal() {
        let long = format!("[\"{}\",\n \"\u{9b}2J\"]", "a".repeat(10_000));
        let [difference] = differences("expect.body = 1", &long).try_into().unwrap();
        assert!(difference.chars().count() < 2 * MAX_SHOWN_CHARS, "{difference}");
        let [difference] = differences("expect.body = 1", "[1,\n\"\u{9b}2J\"]").try_into().unwrap();
        assert_eq!(difference, "body: expected 1, found [1, \"\u{fffd}2J\"]");
    }

    #[test]
    fn an_answer_that_is_nested_deeply_is_compared_as_far_as_is_expected() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(differences("expect.body = { a = [[]] }", &deep).len(), 1);
        let too_deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(differences("expect.body = [[]]", &too_deep).len(), 1);
    }
}
