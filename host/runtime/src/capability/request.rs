//! `weir:pipeline/types`: the request, with a record of the parts that the guest reads, and bodies
//! that the guest makes from bytes.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime::component::{HasData, Linker, Resource};
use weir_bindings::pipeline::weir::pipeline::types::{
    self, Body, Host, HostBody, HostRequest, Request,
};

use super::call::View;
use super::{body, resources};
use crate::request::{KeyedRequest, PartsRead};

/// The longest name of a header or a query parameter that a guest may ask for.
const MAX_NAME_BYTES: usize = 1 << 10;
/// What a recorded name costs in addition to its text.
const NAME_BYTES: usize = 64;

/// The request of a call, and which of its parts have been read.
pub struct Context {
    request: Arc<KeyedRequest>,
    parts: Mutex<PartsRead>,
}

impl Context {
    /// The context of a request of which nothing has been read.
    #[must_use]
    pub fn new(request: Arc<KeyedRequest>) -> Self {
        Self { request, parts: Mutex::default() }
    }

    /// The parts that have been read so far.
    #[must_use]
    pub fn parts_read(&self) -> PartsRead {
        self.parts.lock().clone()
    }
}

/// Links the types of requests and bodies, which every pipeline may use.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_, Context>,
) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Linked>(linker, view)
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a, Context>;
}

/// The value behind the guest's handle. The request itself is in the context.
struct TheRequest;

impl Host for View<'_, Context> {}

impl HostRequest for View<'_, Context> {
    fn method(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.context.parts.lock().method = true;
        Ok(self.context.request.method.to_string())
    }

    fn path(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        Ok(self.context.request.path.clone())
    }

    fn query(&mut self, _: Resource<Request>, name: String) -> wasmtime::Result<Option<String>> {
        self.charge(&name)?;
        let value = self.context.request.query_parameter(&name).map(ToOwned::to_owned);
        self.context.parts.lock().query.insert(name);
        Ok(value)
    }

    fn header(&mut self, _: Resource<Request>, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.charge(&name)?;
        let value = self.context.request.headers.get(&name).map(|value| value.as_bytes().to_vec());
        self.context.parts.lock().headers.insert(name.to_ascii_lowercase());
        Ok(value)
    }

    fn content_type(&mut self, _: Resource<Request>) -> wasmtime::Result<Option<String>> {
        self.context.parts.lock().content_type = true;
        let value = self.context.request.headers.get(http::header::CONTENT_TYPE);
        Ok(value.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned))
    }

    fn body(&mut self, _: Resource<Request>) -> wasmtime::Result<Vec<u8>> {
        self.context.parts.lock().body = true;
        Ok(self.context.request.body.to_vec())
    }

    fn drop(&mut self, request: Resource<Request>) -> wasmtime::Result<()> {
        resources::take::<TheRequest, _>(self.table, &request)?;
        Ok(())
    }
}

impl HostBody for View<'_, Context> {
    fn new(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Resource<Body>> {
        Ok(body::keep(self.call, self.table, bytes)??)
    }

    fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        body::take(self.table, &body)?;
        Ok(())
    }
}

impl View<'_, Context> {
    /// Charges the call's budget for a name that the record of reads will keep.
    fn charge(&self, name: &str) -> wasmtime::Result<()> {
        if name.len() > MAX_NAME_BYTES || !self.call.spend(NAME_BYTES + name.len()) {
            wasmtime::bail!(
                "the names of the requested headers and query parameters are too long or too many"
            );
        }
        Ok(())
    }

    /// Takes the body that the guest answers with.
    ///
    /// # Errors
    /// The handle does not exist.
    pub fn take_body(&mut self, body: &Resource<Body>) -> wasmtime::Result<Bytes> {
        body::take(self.table, body)
    }

    /// The handle that the guest is called with.
    ///
    /// # Errors
    /// The table is full.
    pub fn request(&mut self) -> wasmtime::Result<Resource<Request>> {
        Ok(resources::push(self.table, TheRequest)?)
    }
}
