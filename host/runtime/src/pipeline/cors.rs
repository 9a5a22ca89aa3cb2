//! `[pipelines.NAME.cors]` and `[plugins.cors]`: which web pages may call a pipeline, and read its answers.
//!
//! Browsers enforce it, so it is no protection against anybody else. Out of scope: answering browsers
//! (`weir-server`).

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

/// The most origins of a pipeline.
const MAX_ORIGINS: usize = 1_024;
/// The most headers that are added to the usual ones, or exposed.
const MAX_HEADERS: usize = 64;
/// Browsers keep the answer to a preflight for no longer.
const MAX_AGE_SECONDS: u32 = 86_400;

/// The headers of a response that a page may read unless `exposed_headers` says otherwise, in addition to
/// those that every page may.
const EXPOSED: [&str; 11] = [
    "age",
    "cache-status",
    "etag",
    "retry-after",
    "server-timing",
    "weir-position",
    "weir-positions",
    "weir-revision",
    "weir-writes",
    "x-request-id",
    "x-response-time",
];

/// Which web pages may call a pipeline, and what they may send and read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins of the pages, such as `https://app.example`; or `*` alone, for any.
    pub origins: Vec<Origin>,
    /// The request headers that pages may set, in addition to the usual ones.
    #[serde(default)]
    pub allowed_headers: Vec<Header>,
    /// The response headers that pages may read, instead of Weir's own.
    #[serde(default = "exposed")]
    pub exposed_headers: Vec<Header>,
    /// How long browsers may remember what they may send.
    #[serde(default = "ten_minutes")]
    pub max_age_seconds: u32,
    /// Whether pages may send cookies, and what else browsers add by themselves.
    #[serde(default)]
    pub credentials: bool,
}

/// The origin of a page, as browsers write it, or any.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Origin(HeaderValue);

/// The name of a header.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Header(HeaderName);

impl Cors {
    /// What does not go together or is too much, one line per problem.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let any = self.origins.iter().any(Origin::is_any);
        match self.origins.len() {
            0 => problems.push(
                "origins: name at least one, such as 'https://app.example', or leave the section out"
                    .to_owned(),
            ),
            2.. if any => problems
                .push("origins: '*' stands for all origins: remove it, or the others".to_owned()),
            many if many > MAX_ORIGINS => {
                problems.push(format!("origins: {many} are more than {MAX_ORIGINS}"));
            }
            _ => {}
        }
        if any && self.credentials {
            problems.push(
                "credentials: with them, every page of the web could use what a browser is logged in to: \
                 name the origins instead of '*'"
                    .to_owned(),
            );
        }
        let headers = [
            ("allowed_headers", &self.allowed_headers),
            ("exposed_headers", &self.exposed_headers),
        ];
        for (key, headers) in headers {
            if headers.len() > MAX_HEADERS {
                problems.push(format!("{key}: {} are more than {MAX_HEADERS}", headers.len()));
            }
        }
        if self.max_age_seconds > MAX_AGE_SECONDS {
            problems.push(format!(
                "max_age_seconds = {}: must be 0 to {MAX_AGE_SECONDS}",
                self.max_age_seconds
            ));
        }
        problems
    }
}

impl Origin {
    /// Whether it stands for all origins.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// As browsers send it.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

impl Header {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text != "*" {
            check_origin(&text).map_err(|reason| {
                format!("'{text}' is not an origin as browsers send it: {reason}")
            })?;
        }
        HeaderValue::try_from(&text).map(Self).map_err(|_| format!("'{text}' is not an origin"))
    }
}

impl TryFrom<String> for Header {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "*" {
            return Err("'*' does not stand for all headers here: name them".to_owned());
        }
        let name = HeaderName::try_from(&text);
        name.map(Self).map_err(|_| format!("'{text}' is not the name of a header"))
    }
}

/// Whether `text` is the serialization of an origin (RFC 6454): with another one, it would never be equal
/// to what a browser sends.
fn check_origin(text: &str) -> Result<(), String> {
    if text == "null" {
        return Err(
            "it is that of every sandboxed page, so it says nothing about who asks".to_owned()
        );
    }
    let example = "write it as in 'https://app.example' or 'http://localhost:3000'";
    let (scheme, authority) = text.split_once("://").ok_or(example)?;
    let of_scheme =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    if !scheme.starts_with(|first: char| first.is_ascii_lowercase())
        || !scheme.bytes().all(of_scheme)
    {
        return Err(example.to_owned());
    }
    if authority.contains('/') {
        return Err("it has no path, and no '/' at its end".to_owned());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let of_host =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(of_host),
    };
    if !is_host {
        return Err(format!(
            "its host has lower-case letters, digits, '-' and '.', and no other alphabet than 'xn--…'; {example}"
        ));
    }
    match (scheme, port) {
        (_, None) => Ok(()),
        ("https", Some("443")) | ("http", Some("80")) => {
            Err("it has no port if that is the usual one of its scheme".to_owned())
        }
        (_, Some(port)) => match port.parse::<u16>() {
            Ok(number) if number.to_string() == port => Ok(()),
            _ => Err(example.to_owned()),
        },
    }
}

fn exposed() -> Vec<Header> {
    EXPOSED.map(|name| Header(HeaderName::from_static(name))).into()
}

fn ten_minutes() -> u32 {
    600
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (text, valid) in [
            ("*", true),
            ("https://app.example", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:8080", true),
            ("https://[2001:db8::1]:8443", true),
            ("https://[2001:db8::1]", true),
            ("https://xn--bcher-kva.example", true),
            ("chrome-extension://abcdefghijklmnop", true),
            ("null", false),
            ("", false),
            ("app.example", false),
            ("https://", false),
            ("https://app.example/", false),
            ("https://app.example/a", false),
            ("https://App.example", false),
            ("HTTPS://app.example", false),
            ("https://bücher.example", false),
            ("https://*.app.example", false),
            ("https://user@app.example", false),
            ("https://app.example:443", false),
            ("http://app.example:80", false),
            ("http://app.example:443", true),
            ("https://app.example:", false),
            ("https://app.example:08443", false),
            ("https://app.example:65536", false),
            ("https://[::g]", false),
            ("https://app.example\n", false),
        ] {
            let origin = Origin::try_from(text.to_owned());
            assert_eq!(origin.is_ok(), valid, "{text:?}: {origin:?}");
        }
    }

    #[test]
    fn headers_are_named_one_by_one() {
        for (text, valid) in [("X-Trace", true), ("*", false), ("a b", false), ("", false)] {
            assert_eq!(Header::try_from(text.to_owned()).is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let origin = |text: &str| {
            Origin(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("")))
        };
        let cors = |origins: &[&str], credentials| Cors {
            origins: origins.iter().map(|text| origin(text)).collect(),
            allowed_headers: Vec::new(),
            exposed_headers: exposed(),
            max_age_seconds: 600,
            credentials,
        };
        let many = vec!["https://a.example"; MAX_ORIGINS + 1];
        let headers = vec![Header(HeaderName::from_static("x-a")); MAX_HEADERS + 1];
        for (cors, expected) in [
            (cors(&["https://a.example"], true), None),
            (cors(&["*"], false), None),
            (cors(&[], false), Some("origins: name at least one")),
            (cors(&["*"], true), Some("credentials: with them")),
            (cors(&["https://a.example", "*"], false), Some("origins: '*' stands for")),
            (cors(&many, false), Some("origins: 1025 are more than 1024")),
            (
                Cors { max_age_seconds: 86_401, ..cors(&["*"], false) },
                Some("max_age_seconds = 86401: must be 0 to 86400"),
            ),
            (
                Cors { allowed_headers: headers.clone(), ..cors(&["*"], false) },
                Some("allowed_headers: 65 are more than 64"),
            ),
            (
                Cors { exposed_headers: headers, ..cors(&["*"], false) },
                Some("exposed_headers: 65 are more than 64"),
            ),
        ] {
            let problems = cors.problems();
            assert_eq!(problems.len(), usize::from(expected.is_some()), "{problems:?}");
            assert!(problems.join("").starts_with(expected.unwrap_or_default()), "{problems:?}");
        }
    }
}
