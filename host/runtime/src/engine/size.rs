//! The sizes that guests come in. Most are small. An interpreter may need a large one, of which the
//! operator allows few.
//!
//! Guests of each size have slots and an engine of their own, so that they cannot take those of the
//! other. Out of scope: how many there are, and their memory, which operators set (`config`).

use serde::Deserialize;
use wasmtime::ResourcesRequired;

/// WebAssembly counts initial memories in pages of this size.
const WASM_PAGE_BYTES: u64 = 64 << 10;

/// The size of a pipeline's guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Enough for compiled languages, and for small programs in interpreted ones.
    #[default]
    Small,
    /// For interpreters with large programs.
    Large,
}

/// What wasmtime sets aside for a guest, and the most that it may have, besides its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Core instances of the component. Those made by `wit-component` have three or four,
    /// those of Python fourteen and one more for each native extension.
    pub core_instances: u32,
    /// Memories of the component: its own and one of an adapter, or those of its parts.
    pub memories: u32,
    /// Tables of the component.
    pub tables: u32,
    /// Elements of one table.
    pub table_elements: usize,
    /// Bytes of what wasmtime itself keeps of a core instance, and of the component.
    pub instance_bytes: usize,
    /// The stack of the guest's wasm. A guest that needs more traps.
    pub wasm_stack_bytes: usize,
    /// The stack of the guest's fiber: for its wasm, and for the host functions that it calls.
    pub fiber_stack_bytes: usize,
}

const SMALL: Shape = Shape {
    core_instances: 16,
    memories: 2,
    tables: 8,
    table_elements: 16_384,
    instance_bytes: 1 << 20,
    wasm_stack_bytes: 512 << 10,
    fiber_stack_bytes: 1 << 20,
};

const LARGE: Shape = Shape {
    core_instances: 64,
    memories: 4,
    tables: 32,
    table_elements: 65_536,
    instance_bytes: 4 << 20,
    wasm_stack_bytes: 2 << 20,
    fiber_stack_bytes: 3 << 20,
};

impl Size {
    /// What a guest of this size has.
    #[must_use]
    pub fn shape(self) -> &'static Shape {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        }
    }
}

impl Shape {
    /// What of a component's needs is more than the shape has, with memories of so many bytes.
    #[must_use]
    pub fn lacks(&self, needed: &ResourcesRequired, max_memory_bytes: usize) -> Option<String> {
        let memory = needed.max_initial_memory_size.unwrap_or(0).saturating_mul(WASM_PAGE_BYTES);
        let needs = [
            ("memories", u64::from(needed.num_memories), u64::from(self.memories)),
            ("bytes of memory from the start", memory, max_memory_bytes as u64),
            ("tables", u64::from(needed.num_tables), u64::from(self.tables)),
            (
                "elements of a table from the start",
                needed.max_initial_table_size.unwrap_or(0),
                self.table_elements as u64,
            ),
        ];
        let (what, needed, most) = needs.into_iter().find(|(_, needed, most)| needed > most)?;
        Some(format!("it needs {needed} {what}, and has {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_component_needs_is_compared_with_each_limit() {
        let needs = |memories, pages, tables, elements| ResourcesRequired {
            num_memories: memories,
            max_initial_memory_size: Some(pages),
            num_tables: tables,
            max_initial_table_size: Some(elements),
        };
        // The largest that docs/languages.md has.
        let interpreter = needs(1, 200, 2, 7_713);
        for (needed, lacks) in [
            (interpreter, None),
            (needs(2, 1_024, 8, 16_384), None),
            (needs(3, 1, 1, 1), Some("it needs 3 memories, and has 2")),
            (needs(1, 1_025, 1, 1), Some("needs 67174400 bytes of memory from the start")),
            (needs(1, 1, 9, 1), Some("it needs 9 tables, and has 8")),
            (needs(1, 1, 1, 16_385), Some("it needs 16385 elements of a table")),
        ] {
            let says = Size::Small.shape().lacks(&needed, 64 << 20);
            match lacks {
                None => assert_eq!(says, None),
                Some(lacks) => {
                    assert!(says.as_ref().is_some_and(|s| s.contains(lacks)), "{says:?}")
                }
            }
            assert_eq!(Size::Large.shape().lacks(&needed, 256 << 20), None);
        }
    }
}
