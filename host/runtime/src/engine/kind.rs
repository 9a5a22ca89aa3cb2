//! The kinds of engines, and what each sets of wasmtime. All that decides the code that an engine compiles
//! is here, so that a process that only compiles makes the same code as the server.
//!
//! Out of scope: where instances come from (`pool`), which does not change the code.

use serde::{Deserialize, Serialize};
use wasmtime::Config;

use super::size::{Shape, Size};

/// Which engine a component is for. Code of one kind does not run on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Small pipelines: asynchronous, interrupted by epochs.
    Pipelines,
    /// Large pipelines.
    LargePipelines,
    /// Policies: bounded by fuel.
    Policies,
}

impl Kind {
    /// That of pipelines of this size.
    #[must_use]
    pub fn of_pipelines(size: Size) -> Self {
        match size {
            Size::Small => Self::Pipelines,
            Size::Large => Self::LargePipelines,
        }
    }

    /// The size of its guests, if it is for pipelines.
    #[must_use]
    pub fn size(self) -> Option<Size> {
        match self {
            Self::Pipelines => Some(Size::Small),
            Self::LargePipelines => Some(Size::Large),
            Self::Policies => None,
        }
    }

    /// Its name, in metrics and in names of files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pipelines => "pipelines",
            Self::LargePipelines => "large-pipelines",
            Self::Policies => "policies",
        }
    }

    /// What its guests have.
    pub(super) fn shape(self) -> &'static Shape {
        self.size().unwrap_or(Size::Small).shape()
    }

    /// Everything that it sets, but for where instances come from.
    pub(super) fn config(self) -> Config {
        let mut config = base_config();
        match self {
            Self::Pipelines | Self::LargePipelines => {
                config.wasm_component_model_async(true).epoch_interruption(true);
            }
            // Fuel and not epochs: fuel does not depend on the machine's speed, so a policy runs out of
            // it at the same point on every node.
            Self::Policies => {
                config
                    .concurrency_support(false)
                    .consume_fuel(true)
                    .cranelift_nan_canonicalization(true);
            }
        }
        let shape = self.shape();
        config.max_wasm_stack(shape.wasm_stack_bytes).async_stack_size(shape.fiber_stack_bytes);
        config
    }
}

/// The settings of all engines. Features that no plugin needs are off.
fn base_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false);
    config
}
