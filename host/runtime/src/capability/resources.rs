//! The host's values behind a guest's handles. The generated resource types are only names, so a
//! value is stored under its own type and its handle gets the generated one. The table checks the
//! value's type whenever the guest passes a handle.

use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

/// Stores `value` and returns a handle of the generated type `W`.
pub(super) fn push<T: Send + 'static, W: 'static>(
    table: &mut ResourceTable,
    value: T,
) -> Result<Resource<W>, ResourceTableError> {
    Ok(Resource::new_own(table.push(value)?.rep()))
}

/// The value behind a handle of type `W`.
pub(super) fn get<'a, T: Send + 'static, W: 'static>(
    table: &'a ResourceTable,
    handle: &Resource<W>,
) -> Result<&'a T, ResourceTableError> {
    table.get(&Resource::new_borrow(handle.rep()))
}

/// Removes the value behind an owned handle.
pub(super) fn take<T: Send + 'static, W: 'static>(
    table: &mut ResourceTable,
    handle: &Resource<W>,
) -> Result<T, ResourceTableError> {
    table.delete(Resource::<T>::new_own(handle.rep()))
}
