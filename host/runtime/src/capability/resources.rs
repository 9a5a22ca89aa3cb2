//! The host's values behind a guest's handles. The generated resource types are only names,
//! so a value is kept under its own type and its handle is given the name; the table checks
//! the type whenever a handle comes back.

use wasmtime::component::{Resource, ResourceTable, ResourceTableError};

/// Keeps `value` and names it `W` for the guest.
pub(super) fn push<T: Send + 'static, W: 'static>(
    table: &mut ResourceTable,
    value: T,
) -> Result<Resource<W>, ResourceTableError> {
    Ok(Resource::new_own(table.push(value)?.rep()))
}

/// The value behind a handle named `W`.
pub(super) fn get<'a, T: Send + 'static, W: 'static>(
    table: &'a ResourceTable,
    handle: &Resource<W>,
) -> Result<&'a T, ResourceTableError> {
    table.get(&Resource::new_borrow(handle.rep()))
}

/// Takes the value behind an owned handle.
pub(super) fn take<T: Send + 'static, W: 'static>(
    table: &mut ResourceTable,
    handle: &Resource<W>,
) -> Result<T, ResourceTableError> {
    table.delete(Resource::<T>::new_own(handle.rep()))
}
