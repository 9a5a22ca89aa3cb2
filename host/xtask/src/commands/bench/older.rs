//! Revisions from before `cargo xtask bench-side`: how they are built and configured, as it was
//! then. Nothing here changes with the current configuration, nor is anything added: every
//! later revision answers for itself.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::side::Side;
use crate::commands::test::build_server;
use crate::components;
use crate::set_up::Tools;
use crate::workspace::Workspace;

/// Builds plugins and server of the revision that is checked out in `workspace`.
pub(super) fn build(workspace: &Workspace, tools: &Tools) -> Result<Side> {
    components::build_plugins(workspace, &tools.wasm)?;
    build_server(workspace)?;
    Ok(Side {
        binary: workspace.server_binary(),
        plugins: workspace.plugins(),
        configuration: configuration(tools)?,
    })
}

fn configuration(tools: &Tools) -> Result<String> {
    let embedding = &tools.embedding;
    let component = |name: &str| Path::new("plugins").join(name);
    toml::to_string(&json!({
        "data": { "folder": "data" },
        "ingest": { "searchable_timeout_ms": 600_000 },
        "embedding": {
            "library": embedding.library,
            "model": embedding.model,
            "tokenizer": embedding.tokenizer,
        },
        "policies": {
            "default": {
                "component": component("policy-default.wasm"),
                "settings": { "ttl_ms": 86_400_000 },
            },
        },
        "pipelines": {
            "echo": { "component": component("echo.wasm"), "policy": "default" },
            "echo-uncached": { "component": component("echo.wasm") },
            "search-uncached": {
                "component": component("search.wasm"),
                "grants": [
                    "weir:embedding/embedder",
                    "weir:vector/collections",
                    "weir:observe/settings",
                ],
            },
        },
    }))
    .context("writing the older revision's configuration")
}
