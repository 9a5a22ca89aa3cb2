//! A request as a pipeline sees it, and the record of which parts the pipeline has read.
//!
//! An answer that depends on a part outside its key must be neither stored nor shared.
//! [`PartsRead`] says what an answer depends on, [`Coverage`] what a key contains.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use weir_core::json::CanonicalJson;
use weir_limits::charge::Charge;
use weir_limits::client::Client;

/// The longest id of a request.
const MAX_ID_BYTES: usize = 64;

/// The id of a request, which its answer states, and the lines of the log about it: 1 to 64 letters,
/// digits, `.`, `_` and `-`. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id in `value`; `None` if it is not one.
    #[must_use]
    pub fn new(value: HeaderValue) -> Option<Self> {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let id = value.as_bytes();
        let is_id = (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(allowed);
        is_id.then_some(Self(value))
    }

    /// An id of 32 hexadecimal digits, from two `numbers`: of the process, and of its request.
    #[must_use]
    pub fn of(numbers: [u64; 2]) -> Self {
        let mut id = [0_u8; 32];
        for (number, digits) in numbers.iter().zip(id.chunks_exact_mut(16)) {
            for (place, digit) in digits.iter_mut().rev().enumerate() {
                *digit = b"0123456789abcdef"[(number >> (4 * place)) as usize & 0xf];
            }
        }
        // Hexadecimal digits are never refused.
        Self(HeaderValue::from_bytes(&id).unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// The id as the value of a header.
    #[must_use]
    pub fn into_header(self) -> HeaderValue {
        self.0
    }
}

/// A request. The parts that are in its key have exactly the form that was hashed.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    /// The request's id, which guests do not see. A run that several requests follow has the id of
    /// the one that leads it.
    pub id: RequestId,
    /// Who sent it, or the one that leads.
    pub client: Client,
    /// `POST`, `QUERY` or `GET`.
    pub method: Method,
    /// The path, percent-decoded.
    pub path: String,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers, by lower-case name.
    pub headers: HeaderMap,
    /// Canonical JSON.
    pub body: Bytes,
    /// What was taken of the memory for bodies.
    pub charge: Charge,
}

impl KeyedRequest {
    /// The first value of the query parameter `name`.
    #[must_use]
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What keys are computed from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The request's id, which is part of no key.
    pub id: &'a RequestId,
    /// Who sent it.
    pub client: Client,
    /// `POST`, `QUERY` or `GET`.
    pub method: &'a Method,
    /// The path.
    pub path: &'a str,
    /// Query parameters, decoded, in order.
    pub query: &'a [(String, String)],
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body, canonical.
    pub body: &'a CanonicalJson,
    /// What was taken of the memory for bodies. A request that is made from this source keeps it.
    pub charge: &'a Charge,
}

impl Source<'_> {
    /// The first value of the query parameter `name`.
    #[must_use]
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The request as it arrived.
    #[must_use]
    pub fn request(&self) -> KeyedRequest {
        KeyedRequest {
            id: self.id.clone(),
            client: self.client,
            method: self.method.clone(),
            path: self.path.to_owned(),
            query: self.query.to_vec(),
            headers: self.headers.clone(),
            body: self.body.text().clone(),
            charge: self.charge.clone(),
        }
    }
}

impl PartsRead {
    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let names = self.headers.iter().chain(&self.query);
        size_of::<Self>() + names.map(|name| size_of::<String>() + name.len()).sum::<usize>()
    }
}

/// The parts that a guest has read. The path is that of the pipeline, so every key covers it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsRead {
    /// `request.method`.
    pub method: bool,
    /// `request.content-type`.
    pub content_type: bool,
    /// `request.body`.
    pub body: bool,
    /// `request.header`, by lower-case name.
    pub headers: BTreeSet<String>,
    /// `request.query`, by name.
    pub query: BTreeSet<String>,
    /// Something that no key can contain: a clock or a source of random numbers.
    pub untracked: bool,
}

/// The parts that a key contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Whether the body that the guest receives consists of parts of the key and nothing else.
    pub body: bool,
    /// Headers, by lower-case name.
    pub headers: BTreeSet<String>,
    /// Query parameters, by name.
    pub query: BTreeSet<String>,
}

impl Coverage {
    /// Whether every part that `other` contains is in the key.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        (self.body || !other.body)
            && other.headers.is_subset(&self.headers)
            && other.query.is_subset(&self.query)
    }

    /// Whether every part in `read` is in the key. The method and the content type never
    /// are: `POST`, `QUERY` and `GET` share one key.
    #[must_use]
    pub fn covers(&self, read: &PartsRead) -> bool {
        !read.method
            && !read.content_type
            && !read.untracked
            && (self.body || !read.body)
            && read.headers.is_subset(&self.headers)
            && read.query.is_subset(&self.query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_covers_what_it_was_made_of() {
        let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let key = Coverage { body: true, headers: of(&["x-a"]), query: of(&["q"]) };
        let read = PartsRead::default();
        let cases = [
            (read.clone(), true),
            (PartsRead { body: true, ..read.clone() }, true),
            (PartsRead { headers: of(&["x-a"]), query: of(&["q"]), ..read.clone() }, true),
            (PartsRead { headers: of(&["x-a", "x-b"]), ..read.clone() }, false),
            (PartsRead { query: of(&["p"]), ..read.clone() }, false),
            (PartsRead { method: true, ..read.clone() }, false),
            (PartsRead { content_type: true, ..read.clone() }, false),
            (PartsRead { untracked: true, ..read }, false),
        ];
        for (read, covered) in cases {
            assert_eq!(key.covers(&read), covered, "{read:?}");
        }
        assert!(!Coverage::default().covers(&PartsRead { body: true, ..PartsRead::default() }));
        let other = Coverage { headers: of(&["x-b"]), ..key.clone() };
        assert!(key.includes(&key) && key.includes(&Coverage::default()));
        assert!(!key.includes(&other) && !Coverage::default().includes(&key));
    }
}
