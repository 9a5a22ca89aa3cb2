//! One side of a comparison: the server of a revision, with a configuration that it understands.
//!
//! The configuration changes between revisions, and so does the way in which plugins are built. So
//! each revision builds itself and prints its configuration: `bench --against` of a later revision
//! runs `cargo xtask bench-side` of this one. The format of its output must stay the same. `older`
//! builds revisions that do not have this command.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;

use super::measure::Target;
use crate::commands::test::build_server;
use crate::components;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::set_up::{self, Embedding};
use crate::workspace::Workspace;

/// Longer than any benchmark, so that no answer becomes stale while hits are measured.
const TTL_MS: u64 = 86_400_000;
/// Long enough that documents are searchable when a write is answered, even on a busy machine.
const SEARCHABLE_TIMEOUT_MS: u64 = 600_000;

/// Build this revision's server and plugins, and print how to start them; for `bench --against`
#[derive(Args)]
pub(crate) struct BenchSide {}

impl BenchSide {
    pub(crate) fn run(self) -> Result<()> {
        let tools = set_up::set_up()?;
        let workspace = Workspace::find()?;
        components::build_plugins(&workspace, &tools.wasm)?;
        let side = Side::build(&workspace, &tools.embedding)?;
        println!("{}", serde_json::to_string(&side)?);
        Ok(())
    }
}

/// What is needed to start the server of a revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Side {
    /// The server, started as `BINARY serve --config FILE --listen ADDRESS:PORT`.
    pub(super) binary: PathBuf,
    /// The folder of its plugins' components.
    pub(super) plugins: PathBuf,
    /// The configuration in TOML, with the pipelines of [`super::cases::CASES`]. The paths of
    /// `data`, and of the components in `plugins`, are relative to the configuration file.
    pub(super) configuration: String,
}

impl Side {
    /// Builds the workspace's server. Its plugins must have been built.
    pub(super) fn build(workspace: &Workspace, embedding: &Embedding) -> Result<Self> {
        build_server(workspace)?;
        let configuration = Configuration {
            // Not used: the address is set when the server is started.
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            embedding,
            sections: sections(),
        };
        Ok(Self {
            binary: workspace.server_binary(),
            plugins: workspace.plugins(),
            configuration: configuration.toml(Path::new(""))?,
        })
    }

    /// Limits how many guests can run at the same time.
    pub(super) fn with_guests(mut self, guests: u32) -> Result<Self> {
        let mut table: toml::Table = self.configuration.parse()?;
        let engine = table.entry("engine").or_insert_with(|| toml::Table::new().into());
        let engine = engine.as_table_mut().context("`engine` is not a section")?;
        engine.insert("max_concurrent_guests".to_owned(), i64::from(guests).into());
        self.configuration = toml::to_string(&table)?;
        Ok(self)
    }

    /// Starts a server whose files are in `folder`, and waits until it is ready.
    pub(super) async fn start(&self, folder: &Path) -> Result<Server> {
        self.start_by(Command::new(&self.binary), folder).await
    }

    /// Like [`Side::start`], with a command that ends with the server's binary.
    pub(super) async fn start_by(&self, command: Command, folder: &Path) -> Result<Server> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        symlink(&self.plugins, folder.join("plugins"))
            .with_context(|| format!("linking plugins into {}", folder.display()))?;
        Server::start_by(command, folder, &self.configuration, free_address()?).await
    }
}

/// The sections of the configuration, with the pipelines that are measured.
fn sections() -> Value {
    let plugins = Path::new("plugins");
    let mut sections = search_sections(plugins);
    sections["policies"]["default"]["settings"] = json!({ "ttl_ms": TTL_MS });
    let cached = sections["pipelines"]["search"].take();
    let mut search = cached.clone();
    if let Some(search) = search.as_object_mut() {
        search.remove("policy");
    }
    let echo = plugins.join("echo.wasm");
    sections["pipelines"] = json!({
        "echo": { "component": echo, "policy": "default" },
        "echo-uncached": { "component": echo },
        "search": cached,
        "search-uncached": search,
    });
    sections["ingest"] = json!({ "searchable_timeout_ms": SEARCHABLE_TIMEOUT_MS });
    sections
}

/// The address and the process of a server, for measuring it.
pub(super) fn target(server: &Server) -> Result<Target> {
    Ok(Target { address: server.address(), process: server.id()? })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn the_limit_of_guests_is_added_to_the_configuration() {
        let side = Side {
            binary: "/b".into(),
            plugins: "/p".into(),
            configuration: "[data]\nfolder = \"data\"\n".into(),
        };
        let toml: toml::Table = side.with_guests(4).unwrap().configuration.parse().unwrap();
        assert_eq!(toml["engine"]["max_concurrent_guests"].as_integer(), Some(4));
        assert_eq!(toml["data"]["folder"].as_str(), Some("data"));
    }

    #[test]
    fn a_configuration_hosts_every_case_with_relative_paths() {
        let embedding =
            Embedding { library: "/l".into(), model: "/m".into(), tokenizer: "/t".into() };
        let configuration = Configuration {
            listen: "127.0.0.1:0".parse().unwrap(),
            embedding: &embedding,
            sections: sections(),
        };
        let toml: toml::Table = configuration.toml(Path::new("")).unwrap().parse().unwrap();
        assert_eq!(toml["data"]["folder"].as_str(), Some("data"));
        let pipelines = toml["pipelines"].as_table().unwrap();
        for case in &super::super::cases::CASES {
            let name = case.path.rsplit('/').next().unwrap();
            let pipeline = pipelines[name].as_table().unwrap();
            assert!(pipeline["component"].as_str().unwrap().starts_with("plugins/"));
            assert_eq!(pipeline.contains_key("policy"), case.is_hit, "{name}");
        }
    }
}
