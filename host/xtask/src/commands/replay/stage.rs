//! Where a trace is replayed: a release server in a folder of its own, with the collection that the trace is
//! about, and nothing in its cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use weir_test_redis::RedisServer;

use super::COLLECTION;
use crate::client::Client;
use crate::commands::eval::collection;
use crate::commands::test::build_server;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::traffic::clients::allow_connections;
use crate::workspace::Workspace;
use crate::{components, machine, set_up};

/// Longer than any write takes, so that one that is acknowledged is searchable.
const SEARCHABLE_TIMEOUT_MS: u64 = 600_000;

/// What the shared tier is in.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Shared {
    /// A file, in the server's folder
    Disk,
    /// A Redis that is started for it
    Redis,
    /// Nothing
    None,
}

/// What a server for a replay is like.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The folder of the collection; by default, that next to the checkout.
    pub(crate) data: Option<PathBuf>,
    /// The component of the cache policy; by default, policy-default.
    pub(crate) policy: Option<PathBuf>,
    /// What the policy reads when it is loaded.
    pub(crate) policy_settings: Map<String, Value>,
    pub(crate) shared: Shared,
    /// Whether the server and the components are used that were built last.
    pub(crate) no_build: bool,
}

/// A server with the collection. Dropping it stops the server, and removes what it had.
pub(crate) struct Stage {
    pub(crate) server: Server,
    _redis: Option<RedisServer>,
    _folder: TempDir,
}

impl Stage {
    /// Builds the server and the plugins, starts the server, and ingests the collection. `adjust` may change the
    /// sections of its configuration.
    pub(crate) async fn set(setting: &Setting, adjust: impl FnOnce(&mut Value)) -> Result<Self> {
        let workspace = Workspace::find()?;
        let data = setting.data.clone().or_else(|| workspace.cranfield());
        let data =
            data.context("the collection is not next to the checkout: name it with --data")?;
        let documents = collection::documents(&data)?;
        let tools = set_up::set_up()?;
        if !setting.no_build {
            components::build_plugins(&workspace, &tools.wasm)?;
            build_server(&workspace)?;
        }
        let redis = if setting.shared == Shared::Redis {
            set_up::redis()?;
            Some(RedisServer::start())
        } else {
            None
        };
        let mut sections = sections(&workspace.plugins(), setting, redis.as_ref())?;
        adjust(&mut sections);
        allow_connections()?;
        let folder = tempfile::tempdir().context("creating a folder for the server")?;
        let embedding = &tools.embedding;
        let configuration = Configuration { listen: free_address()?, embedding, sections };
        let binary = workspace.server_binary();
        let server = Server::start(&binary, folder.path(), &configuration).await?;
        let client = Client::new(&server.url())?;
        let ingested = collection::ingest(&client, COLLECTION, &documents).await;
        ingested.map_err(|error| server.explain(&error))?;
        machine::warn_if_busy()?;
        Ok(Self { server, _redis: redis, _folder: folder })
    }
}

/// The sections of the server's configuration that differ from the defaults.
fn sections(plugins: &Path, setting: &Setting, redis: Option<&RedisServer>) -> Result<Value> {
    let mut sections = search_sections(plugins);
    let policy = &mut sections["policies"]["default"];
    if let Some(component) = &setting.policy {
        // Relative to this process, not to the configuration's folder.
        let component = component.canonicalize();
        policy["component"] = json!(component.context("looking for the policy's component")?);
    }
    if !setting.policy_settings.is_empty() {
        policy["settings"] = Value::Object(setting.policy_settings.clone());
    }
    sections["cache"]["shared"] = match (setting.shared, redis) {
        (Shared::Disk, _) => json!({ "backend": "disk" }),
        (Shared::None, _) => json!({ "backend": "none" }),
        (Shared::Redis, redis) => {
            let redis = redis.context("there is no Redis")?;
            json!({ "backend": "redis", "redis": { "servers": [redis.address().to_string()] } })
        }
    };
    sections["ingest"] = json!({ "searchable_timeout_ms": SEARCHABLE_TIMEOUT_MS });
    Ok(sections)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn setting() -> Setting {
        Setting {
            data: None,
            policy: None,
            policy_settings: Map::new(),
            shared: Shared::Disk,
            no_build: true,
        }
    }

    #[test]
    fn the_policy_and_the_shared_tier_are_what_is_asked_for() {
        let default = sections(Path::new("/p"), &setting(), None).unwrap();
        assert_eq!(
            default["policies"]["default"],
            json!({ "component": "/p/policy-default.wasm" })
        );
        assert_eq!(default["cache"]["shared"], json!({ "backend": "disk" }));

        let file = tempfile::NamedTempFile::new().unwrap();
        let mut other = setting();
        other.policy = Some(file.path().to_owned());
        other.policy_settings.insert("ttl_ms".into(), json!(5));
        other.shared = Shared::None;
        let other = sections(Path::new("/p"), &other, None).unwrap();
        let component = file.path().canonicalize().unwrap();
        let policy = json!({ "component": component, "settings": { "ttl_ms": 5 } });
        assert_eq!(other["policies"]["default"], policy);
        assert_eq!(other["cache"]["shared"], json!({ "backend": "none" }));

        let absent = Setting { policy: Some("/absent.wasm".into()), ..setting() };
        sections(Path::new("/p"), &absent, None).unwrap_err();
    }
}
