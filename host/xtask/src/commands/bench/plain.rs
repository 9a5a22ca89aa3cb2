//! Builds the plain server that Weir is compared with, `src/bin/plain-axum.rs`, and starts it with
//! captured answers of Weir.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::process::{Child, Command};

use super::cases::CASES;
use super::measure::Target;
use super::prepare::capture;
use crate::server::free_address;
use crate::workspace::Workspace;
use crate::{client, process};

/// A running plain server. It has nothing to drain, so it is killed when dropped.
pub(super) struct Plain {
    pub(super) target: Target,
    _child: Child,
}

/// Builds the plain server.
pub(super) fn build(workspace: &Workspace) -> Result<()> {
    let mut build = process::cargo();
    // Only this package: its dependencies have already been compiled, for this program.
    build.args(["build", "--release", "--package", "xtask", "--bin", "plain-axum"]);
    process::run(build.current_dir(&workspace.root))
}

impl Plain {
    /// Starts it with the current answers of Weir.
    pub(super) async fn start(workspace: &Workspace, folder: &Path, weir: Target) -> Result<Self> {
        let mut answers = BTreeMap::new();
        for case in CASES.iter().filter(|case| case.over_plain_us.is_some()) {
            let (headers, body) = capture(weir, case).await?;
            answers.insert(case.path, json!({ "headers": headers, "body": body }));
        }
        let file = folder.join("answers.json");
        fs::write(&file, serde_json::to_string(&answers)?)?;
        let address = free_address()?;
        let mut child = Command::new(workspace.target.join("release/plain-axum"))
            .arg(address.to_string())
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting plain-axum")?;
        client::connectable(address, &mut child).await.context("waiting for plain-axum")?;
        let process = child.id().context("plain-axum has ended")?;
        Ok(Self { target: Target { address, process }, _child: child })
    }
}
