//! Making an answer.

use serde::Serialize;
use serde_json::Value;

use crate::Failure;
use crate::bindings::pipeline::weir::pipeline::types as wit;
use crate::collections::{Hits, VectorError};

/// An answer. If it breaks a rule of the host (the status is not 200 to 599, or only the host may
/// set a header), the client gets an error from the host instead.
#[derive(Debug)]
pub struct Response {
    status: u16,
    content_type: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// Passed to the host with the answer, so that native unit tests can make answers.
    Bytes(Vec<u8>),
    /// Already kept by the host.
    Hosts(wit::Body),
}

impl Response {
    /// 200 with these bytes.
    pub fn bytes(content_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(content_type.into(), Body::Bytes(bytes.into()))
    }

    /// 200 with `value` as JSON.
    ///
    /// # Errors
    /// `value` cannot be written as JSON, such as a map whose keys are not strings: a failure with
    /// the code `failed`.
    pub fn json(value: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Failure::failed("failed", format!("the answer: {error}")))?;
        Ok(Self::bytes("application/json", bytes))
    }

    /// 200 with a JSON object whose `results` are the hits, written by the host. Add more members
    /// with [`HitsResponse::member`], then [`build`](HitsResponse::build) it.
    pub fn hits(hits: &Hits) -> HitsResponse<'_> {
        HitsResponse { hits, members: Vec::new() }
    }

    fn new(content_type: String, body: Body) -> Self {
        Self { status: 200, content_type, headers: Vec::new(), body }
    }

    /// Sets a status other than 200.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn into_wit(self) -> wit::Response {
        wit::Response {
            status: self.status,
            content_type: self.content_type,
            headers: self.headers,
            body: match self.body {
                Body::Bytes(bytes) => wit::Body::new(&bytes),
                Body::Hosts(body) => body,
            },
        }
    }
}

/// An answer made of hits, from which [`build`](Self::build) makes a [`Response`].
#[derive(Debug)]
#[must_use = "call `build` to get the answer"]
pub struct HitsResponse<'a> {
    hits: &'a Hits,
    members: Vec<(String, String)>,
}

impl HitsResponse<'_> {
    /// Adds a member after `results`.
    pub fn member(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let text = value.into().to_string();
        self.member_text(name, text)
    }

    /// Adds a member after `results`, whose value is JSON text. The host checks it.
    pub fn member_text(mut self, name: impl Into<String>, json: impl Into<String>) -> Self {
        self.members.push((name.into(), json.into()));
        self
    }

    /// Lets the host write the body.
    ///
    /// # Errors
    /// A member is called `results`, is given twice or is not JSON, or there are too many.
    pub fn build(self) -> Result<Response, VectorError> {
        let body = self.hits.0.to_body(&self.members)?;
        Ok(Response::new("application/json".into(), Body::Hosts(body)))
    }
}
