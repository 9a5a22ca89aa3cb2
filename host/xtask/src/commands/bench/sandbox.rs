//! Measures the cost of the sandbox: runs `host/weir/benches/sandbox.rs`, and prints its figures as
//! a table.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;
use crate::set_up::Embedding;
use crate::workspace::Workspace;

/// The cost of one mode of `search`: medians over rounds of one process.
#[derive(Deserialize)]
struct Price {
    wasm_cpu_us: f64,
    native_cpu_us: f64,
    ratio: f64,
}

/// Runs the benchmark and prints what it measured.
pub(super) fn run(workspace: &Workspace, embedding: &Embedding) -> Result<()> {
    let mut bench = process::cargo();
    bench
        .args(["bench", "--quiet", "--workspace", "--bench", "sandbox"])
        .current_dir(&workspace.root)
        .env("WEIR_COMPONENTS", workspace.components())
        .env("WEIR_ONNXRUNTIME_LIBRARY", &embedding.library)
        .env("WEIR_MODEL", &embedding.model)
        .env("WEIR_TOKENIZER", &embedding.tokenizer);
    let printed = process::output(&mut bench)?;
    let prices: BTreeMap<String, Price> =
        serde_json::from_str(printed.trim()).context("reading the benchmark's figures")?;
    println!("| search of 500 documents | CPU µs, component | CPU µs, native | ratio |");
    println!("|---|---:|---:|---:|");
    for (mode, price) in prices {
        let Price { wasm_cpu_us, native_cpu_us, ratio } = price;
        println!("| {mode} | {wasm_cpu_us:.0} | {native_cpu_us:.0} | {ratio:.2} |");
    }
    Ok(())
}
