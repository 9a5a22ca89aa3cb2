//! `weir:pipeline/types`: the request as a guest reads it. Each part that is read is noted.

use wasmtime::component::Resource;
use weir_bindings::pipeline::weir::pipeline::types::{Host, HostRequest, Request};

use crate::pipeline::call::GuestState;

/// The longest name of a header or a query parameter that a guest may ask for.
const MAX_NAME_BYTES: usize = 1 << 10;
/// What a kept name costs beside its text.
const NAME_BYTES: usize = 64;

/// The one request of a store; what it is, the store's call knows.
pub struct TheRequest;

impl Host for GuestState {}

impl HostRequest for GuestState {
    fn method(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        self.call.parts.lock().method = true;
        Ok(self.call.request.method.to_string())
    }

    fn path(&mut self, _: Resource<Request>) -> wasmtime::Result<String> {
        Ok(self.call.request.path.clone())
    }

    fn query(&mut self, _: Resource<Request>, name: String) -> wasmtime::Result<Option<String>> {
        self.charge(&name)?;
        let value = self.call.request.query_parameter(&name).map(ToOwned::to_owned);
        self.call.parts.lock().query.insert(name);
        Ok(value)
    }

    fn header(&mut self, _: Resource<Request>, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.charge(&name)?;
        let value = self.call.request.headers.get(&name).map(|value| value.as_bytes().to_vec());
        self.call.parts.lock().headers.insert(name.to_ascii_lowercase());
        Ok(value)
    }

    fn content_type(&mut self, _: Resource<Request>) -> wasmtime::Result<Option<String>> {
        self.call.parts.lock().content_type = true;
        let value = self.call.request.headers.get(http::header::CONTENT_TYPE);
        Ok(value.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned))
    }

    fn body(&mut self, _: Resource<Request>) -> wasmtime::Result<Vec<u8>> {
        self.call.parts.lock().body = true;
        Ok(self.call.request.body.to_vec())
    }

    fn drop(&mut self, request: Resource<Request>) -> wasmtime::Result<()> {
        super::resources::take::<TheRequest, _>(&mut self.table, &request)?;
        Ok(())
    }
}

impl GuestState {
    /// Takes a name that will be kept in the record of reads from the call's budget.
    fn charge(&self, name: &str) -> wasmtime::Result<()> {
        if name.len() > MAX_NAME_BYTES || !self.call.spend(NAME_BYTES + name.len()) {
            wasmtime::bail!("the names of the request's parts are too long or too many");
        }
        Ok(())
    }

    /// The handle that the guest is called with.
    pub(crate) fn request(&mut self) -> wasmtime::Result<Resource<Request>> {
        Ok(super::resources::push(&mut self.table, TheRequest)?)
    }
}
