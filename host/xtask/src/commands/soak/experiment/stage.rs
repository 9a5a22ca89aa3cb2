//! Where an experiment takes place: a release server that has just been built, in a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use super::world;
use crate::commands::test::build_server;
use crate::machine;
use crate::server::Server;
use crate::traffic::clients::allow_connections;
use crate::workspace::Workspace;
use crate::{components, set_up};

/// A server with documents. Dropping it stops the server and removes its folder.
pub(crate) struct Stage {
    pub(crate) server: Server,
    workspace: Workspace,
    /// Removed when the server has stopped.
    _folder: TempDir,
}

impl Stage {
    /// Builds the server and the guests, unless those that were built last are to be used, starts
    /// the server and fills its collections. `adjust` may change the sections of its configuration,
    /// whose limits are the defaults.
    pub(crate) async fn set(no_build: bool, adjust: impl FnOnce(&mut Value)) -> Result<Self> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        if !no_build {
            components::build(&workspace, &tools.wasm)?;
            build_server(&workspace)?;
        }
        allow_connections()?;
        machine::warn_if_busy()?;
        let folder = tempfile::tempdir().context("creating a folder for the server")?;
        let server = world::start(&workspace, &tools.embedding, folder.path(), adjust).await?;
        world::fill(&server).await.map_err(|error| server.explain(&error))?;
        Ok(Self { server, workspace, _folder: folder })
    }

    /// Prints a report, and writes it to `soak/NAME.md` in the target folder.
    pub(crate) fn report(&self, name: &str, report: &str) -> Result<()> {
        println!("\n{report}");
        self.keep(&format!("{name}.md"), report).map(drop)
    }

    /// Writes a file to `soak/` in the target folder, and returns its path.
    pub(crate) fn keep(&self, name: &str, content: &str) -> Result<PathBuf> {
        let folder = self.workspace.target.join("soak");
        fs::create_dir_all(&folder)?;
        let file = folder.join(name);
        fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }

    /// The component of a guest of `tests/guests/`.
    pub(crate) fn guest(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.workspace.components().join("guests").join(name).with_extension("wasm");
        fs::read(&file).with_context(|| format!("reading {}", file.display()))
    }

    /// Stops the server. If the experiment has failed, its error says how the server ended, if it
    /// has.
    pub(crate) async fn clear<T>(mut self, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => {
                self.server.stop().await?;
                Ok(value)
            }
            Err(error) => {
                let ended = tokio::time::timeout(Duration::from_secs(1), self.server.ended()).await;
                Err(match ended {
                    Ok(ended) => error.context(ended.to_string()),
                    Err(_) => error,
                })
            }
        }
    }
}
