//! `weir:observe/settings`: the settings that the operator configured for a pipeline.

use std::collections::BTreeMap;

use wasmtime::component::{HasData, Linker};
use weir_bindings::pipeline::weir::observe::settings;

use super::call::View;

/// The interface that needs the grant.
pub(super) const INTERFACES: [&str; 1] = ["weir:observe/settings"];

/// The settings of a call's pipeline.
pub struct Context {
    /// The settings as texts, by name.
    pub settings: BTreeMap<String, String>,
}

/// Links the interface that the grant opens.
///
/// # Errors
/// wasmtime refuses a definition, which is a mistake in the host.
pub fn link<T: 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> View<'_, Context>,
) -> wasmtime::Result<()> {
    settings::add_to_linker::<_, Linked>(linker, view)
}

struct Linked;

impl HasData for Linked {
    type Data<'a> = View<'a, Context>;
}

impl settings::Host for View<'_, Context> {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.context.settings.get(&name).cloned())
    }
}
