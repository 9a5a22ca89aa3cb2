//! One line of a trace: what is due when, as the request that is sent for it.
//!
//! The format is that of the trace's own tool: `{"t_ms", "op": "query" | "put", "body"}` and `{"t_ms", "op":
//! "delete", "id"}`. What a body means is the server's to judge; here, it only has to be an object.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::COLLECTION;
use crate::traffic::connection::{request, request_without_body};

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Query,
    Put,
    Delete,
}

impl Kind {
    /// All kinds, in the order of their discriminants.
    pub(super) const ALL: [Self; 3] = [Self::Query, Self::Put, Self::Delete];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Query => "query",
            Self::Put => "put",
            Self::Delete => "delete",
        })
    }
}

/// An operation of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operation {
    pub(super) kind: Kind,
    /// The bytes that are sent: head and body.
    pub(super) request: Arc<str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    t_ms: u64,
    op: Kind,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    id: Option<String>,
}

/// Reads a line, and returns when its operation comes in the trace, in milliseconds.
pub(super) fn parse(line: &str) -> Result<(u64, Operation)> {
    let Line { t_ms, op: kind, body, id } =
        serde_json::from_str(line).context("it is not an operation of a trace")?;
    let documents = format!("/v1/collections/{COLLECTION}/documents");
    let request = match (kind, body, id) {
        (Kind::Query, Some(body), None) => request("/v1/pipelines/search", object(body)?),
        (Kind::Put, Some(body), None) => request(&documents, object(body)?),
        (Kind::Delete, None, Some(id)) => {
            request_without_body("DELETE", &format!("{documents}/{}", in_path(&id)))
        }
        (Kind::Query | Kind::Put, ..) => bail!("a {kind} has a \"body\" and no \"id\""),
        (Kind::Delete, ..) => bail!("a delete has an \"id\" and no \"body\""),
    };
    Ok((t_ms, Operation { kind, request: request.into() }))
}

fn object(body: &RawValue) -> Result<&str> {
    let body = body.get();
    ensure!(body.starts_with('{'), "its \"body\" must be an object");
    Ok(body)
}

/// An id as a segment of a path.
fn in_path(id: &str) -> String {
    let mut path = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn operations_become_requests() {
        for (line, t_ms, kind, begins, ends) in [
            (
                r#"{"t_ms":5,"op":"query","body":{"query":"ä?","limit":10}}"#,
                5,
                Kind::Query,
                "POST /v1/pipelines/search HTTP/1.1\r\n",
                "content-length: 26\r\n\r\n{\"query\":\"ä?\",\"limit\":10}",
            ),
            (
                r#"{ "op": "put", "t_ms": 0, "body": {"documents": []} }"#,
                0,
                Kind::Put,
                "POST /v1/collections/cranfield/documents HTTP/1.1\r\n",
                "\r\n\r\n{\"documents\": []}",
            ),
            (
                r#"{"t_ms":7,"op":"delete","id":"a/b c.1é"}"#,
                7,
                Kind::Delete,
                "DELETE /v1/collections/cranfield/documents/a%2Fb%20c.1%C3%A9 HTTP/1.1\r\n",
                "\r\n\r\n",
            ),
        ] {
            let (at, operation) = parse(line).unwrap();
            assert_eq!((at, operation.kind), (t_ms, kind), "{line}");
            assert!(operation.request.starts_with(begins), "{}", operation.request);
            assert!(operation.request.ends_with(ends), "{}", operation.request);
        }
    }

    #[test]
    fn what_is_no_operation_is_refused() {
        for (line, expected) in [
            ("", "not an operation"),
            ("[]", "not an operation"),
            (r#"{"t_ms":-1,"op":"query","body":{}}"#, "not an operation"),
            (r#"{"t_ms":1.5,"op":"query","body":{}}"#, "not an operation"),
            (r#"{"t_ms":1,"op":"drop","body":{}}"#, "not an operation"),
            (r#"{"t_ms":1,"op":"query","body":{},"more":1}"#, "not an operation"),
            (r#"{"t_ms":1,"op":"query","body":{}} {}"#, "not an operation"),
            (r#"{"t_ms":1,"op":"query"}"#, "a query has a \"body\""),
            (r#"{"t_ms":1,"op":"put","id":"1"}"#, "a put has a \"body\""),
            (r#"{"t_ms":1,"op":"put","body":[]}"#, "must be an object"),
            (r#"{"t_ms":1,"op":"delete","body":{}}"#, "a delete has an \"id\""),
        ] {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
