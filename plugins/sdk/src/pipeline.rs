//! Reading requests and making answers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::collections::Hits;
use crate::{Body, Failure, HitsBody, Request, Response};

/// Makes the named type, which implements [`Pipeline`](crate::Pipeline), what the component
/// answers requests with. Once a crate.
#[macro_export]
macro_rules! pipeline {
    ($pipeline:ident) => {
        $crate::bindings::pipeline::export_pipeline!(
            $pipeline with_types_in $crate::bindings::pipeline
        );
    };
}

impl Request {
    /// The body, read as JSON into any type of `serde`'s. A body that does not fit is the
    /// failure `invalid-body`, which says where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body())
            .map_err(|error| Failure::invalid("invalid-body", format!("the body: {error}")))
    }
}

impl Response {
    /// 200 with these bytes.
    pub fn bytes(content_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            content_type: content_type.into(),
            headers: Vec::new(),
            body: Body::Bytes(bytes.into()),
        }
    }

    /// 200 with `value` as JSON. Fails, as `failed`, only for what JSON cannot say, such as a
    /// map whose keys are no strings.
    pub fn json(value: &impl Serialize) -> Result<Self, Failure> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Failure::failed("failed", format!("the answer: {error}")))?;
        Ok(Self::bytes("application/json", bytes))
    }

    /// 200 with a JSON object whose `results` are the hits, written by the host.
    #[must_use]
    pub fn hits(hits: Hits) -> Self {
        Self {
            status: 200,
            content_type: "application/json".into(),
            headers: Vec::new(),
            body: Body::Hits(HitsBody { hits, members: Vec::new() }),
        }
    }

    /// Adds a member beside the `results` of [`Response::hits`]. Without effect on an answer
    /// that has no hits.
    #[must_use]
    pub fn member(mut self, name: impl Into<String>, value: &serde_json::Value) -> Self {
        if let Body::Hits(body) = &mut self.body {
            body.members.push((name.into(), value.to_string()));
        }
        self
    }

    /// Another status than 200.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header. The host drops or refuses those that are its own to set.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}
