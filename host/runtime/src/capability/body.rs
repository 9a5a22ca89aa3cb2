//! Response bodies. The host keeps each behind a guest's handle until the guest answers with it.

use bytes::Bytes;
use thiserror::Error;
use wasmtime::component::{Resource, ResourceTable};
use weir_bindings::pipeline::weir::pipeline::types::Body as Handle;

use super::call::Call;
use super::resources;

/// A body, behind a guest's handle.
struct Body(Bytes);

/// A body exceeds the operator's limit, which ends the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the body is larger than {max_bytes} bytes")]
pub struct BodyTooLarge {
    /// The limit.
    pub max_bytes: usize,
}

/// The request has used up its byte budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request has used up the bytes that the host may keep for it")]
pub struct Spent;

/// Keeps `bytes` for the guest, and takes them from the call's budget.
///
/// # Errors
/// The outer error ends the request: the body is too large, or the guest has too many handles.
/// The inner error is for the guest.
pub(super) fn keep(
    call: &Call,
    table: &mut ResourceTable,
    bytes: Vec<u8>,
) -> wasmtime::Result<Result<Resource<Handle>, Spent>> {
    let max_bytes = call.max_answer_bytes;
    if bytes.len() > max_bytes {
        return Err(BodyTooLarge { max_bytes }.into());
    }
    if !call.spend(bytes.len()) {
        return Ok(Err(Spent));
    }
    Ok(Ok(resources::push(table, Body(bytes.into()))?))
}

/// Takes the body of an answer.
///
/// # Errors
/// The handle does not exist.
pub(super) fn take(table: &mut ResourceTable, body: &Resource<Handle>) -> wasmtime::Result<Bytes> {
    let Body(bytes) = resources::take(table, body)?;
    Ok(bytes)
}
