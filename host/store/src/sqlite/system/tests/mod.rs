//! Tests of the system store, each on a real file in its own folder. Kills and a disk that is full
//! are in the crate's `tests/crashes.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use tempfile::TempDir;
use weir_core::digest::PluginDigest;
use weir_core::name::Name;

use super::SqliteSystem;
use crate::system::{AuditRecord, Expected, Role, SystemError, TokenId, UploadedPlugin};
use crate::{SystemStore, TruthError};

mod audit;
mod deployments;
mod file;
mod model;
mod plugins;
mod revisions;
mod tokens;

/// A store, and a pipeline's name.
struct Fixture {
    store: SqliteSystem,
    search: Name,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteSystem::open(folder.path()).await.unwrap();
        Self { store, search: name("search"), folder }
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = SqliteSystem::open(self.folder.path()).await.unwrap();
    }

    /// Deploys the pipeline `search`.
    async fn deploy(&self, spec: &str, expected: Expected) -> Result<u64, SystemError> {
        self.store.deploy(Role::Pipeline, &self.search, spec, expected, "alice").await
    }

    /// Removes the pipeline `search`.
    async fn undeploy(&self, expected: Expected) -> Result<Option<u64>, SystemError> {
        self.store.undeploy(Role::Pipeline, &self.search, expected, "bob").await
    }

    /// The current spec of the pipeline `search` and its revision.
    async fn current(&self) -> Option<(String, u64)> {
        let deployment = self.store.deployment(Role::Pipeline, &self.search).await.unwrap();
        deployment.map(|deployment| (deployment.spec, deployment.revision))
    }

    /// The history of the pipeline `search`, each entry as `revision spec`.
    async fn history(&self, limit: u32) -> Vec<String> {
        let history = self.store.history(Role::Pipeline, &self.search, limit).await.unwrap();
        let line = |entry: &crate::system::HistoryEntry| {
            format!("{} {}", entry.revision, entry.spec.as_deref().unwrap_or("removed"))
        };
        history.iter().map(line).collect()
    }

    /// Everything that is deployed, each as `role name revision spec`, and the last revision.
    async fn deployed(&self) -> (Vec<String>, u64) {
        let (deployed, last) = self.store.deployed().await.unwrap();
        let line = |d: &crate::system::Deployment| {
            format!("{} {} {} {}", d.role, d.name, d.revision, d.spec)
        };
        (deployed.iter().map(line).collect(), last)
    }
}

/// The revision that a conflict names.
fn conflict<T: std::fmt::Debug>(result: Result<T, SystemError>) -> Option<u64> {
    match result {
        Err(SystemError::Conflict { current }) => current,
        other => panic!("no conflict: {other:?}"),
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn plugin(content: &str) -> UploadedPlugin {
    UploadedPlugin {
        digest: PluginDigest::of(content.as_bytes()),
        name: name("search"),
        version: "1.2.0".to_owned(),
        role: Role::Pipeline,
        bytes: content.len() as u64,
        uploaded_unix_ms: 1_700_000_000_000,
        uploaded_by: "alice".to_owned(),
    }
}

fn audited(action: &str) -> AuditRecord {
    AuditRecord {
        at_unix_ms: 1_700_000_000_000,
        who: "alice".to_owned(),
        token: Some(TokenId(7)),
        action: action.to_owned(),
        target: "pipeline search".to_owned(),
        tenant: None,
        detail: "the digest".to_owned(),
        outcome: "revision 7".to_owned(),
    }
}
