//! Reading a request.

use serde::de::DeserializeOwned;

use crate::Failure;
use crate::bindings::pipeline::weir::pipeline::types as wit;

/// The request as the cache saw it. The host records which parts are read: an answer that depends
/// on a part outside the cache's key is neither stored nor shared.
#[derive(Debug)]
pub struct Request(pub(crate) wit::Request);

impl Request {
    /// `POST`, `QUERY` or `GET`. Never part of a key: the three share one.
    #[must_use]
    pub fn method(&self) -> String {
        self.0.method()
    }

    /// The path, percent-decoded. Part of every key.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// The first value of a query parameter, percent-decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        self.0.query(name)
    }

    /// The first value of a header. Names are compared without regard to case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        self.0.header(name)
    }

    /// The `content-type` header. Never part of a key.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        self.0.content_type()
    }

    /// The body: canonical JSON, exactly the bytes that the key was made from.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.0.body()
    }

    /// The body, read as JSON into any type that `serde` can read.
    ///
    /// # Errors
    /// The body does not fit the type: a failure with the code `invalid-body` that says where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body())
            .map_err(|error| Failure::invalid_request("invalid-body", format!("the body: {error}")))
    }
}
