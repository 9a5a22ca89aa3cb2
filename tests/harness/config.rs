//! The configuration of a server under test.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::environment;

/// What the pipeline `search` needs to be granted.
const SEARCH_GRANTS: [&str; 3] =
    ["weir:embedding/embedder", "weir:vector/collections", "weir:observe/settings"];

/// A `weir.toml` on its way: any key by its path with dots, and short ways for the sections
/// that most cases need.
#[derive(Clone)]
pub(crate) struct Config(Table);

impl Config {
    /// A free port, a folder for data, the model with one session, and nothing hosted.
    pub(super) fn new(folder: &Path) -> Self {
        let mut config = Self(Table::new());
        config
            .set("server.listen", "127.0.0.1:0")
            .set("data.folder", text(&folder.join("data")))
            .set("embedding.library", text(&environment::library()))
            .set("embedding.model", text(&environment::model()))
            .set("embedding.tokenizer", text(&environment::tokenizer()))
            .set("embedding.sessions", 1)
            // A busy machine is no reason to answer 202.
            .set("ingest.searchable_timeout_ms", 60_000)
            .set("log.level", "info,weir=debug");
        config
    }

    /// Sets a key: `config.set("engine.deadline_ms", 500)`.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        let mut path = key.split('.');
        let last = path.next_back().unwrap();
        let table = path.fold(&mut self.0, |table, section| {
            let section = table.entry(section).or_insert_with(|| Table::new().into());
            section.as_table_mut().unwrap_or_else(|| panic!("{key} goes through a value"))
        });
        table.insert(last.to_owned(), value.into());
        self
    }

    /// Hosts `component` as the pipeline `name`, without a policy.
    pub(crate) fn pipeline(&mut self, name: &str, component: &Path, grants: &[&str]) -> &mut Self {
        self.set(&format!("pipelines.{name}.component"), text(component))
            .set(&format!("pipelines.{name}.grants"), grants.to_vec())
    }

    /// Adds the policy `name`.
    pub(crate) fn policy(&mut self, name: &str, component: &Path) -> &mut Self {
        self.set(&format!("policies.{name}.component"), text(component))
    }

    /// Hosts `search` under `policy-default`; it searches `docs` unless it is told otherwise.
    pub(crate) fn search(&mut self) -> &mut Self {
        self.policy("default", &plugin("policy-default"))
            .pipeline("search", &plugin("search"), &SEARCH_GRANTS)
            .set("pipelines.search.policy", "default")
            .set("pipelines.search.settings.collection", "docs")
    }

    /// The file's text.
    pub(super) fn toml(&self) -> String {
        self.0.to_string()
    }
}

/// The component of a plugin: `echo`, `search`, `policy-default`.
pub(crate) fn plugin(name: &str) -> PathBuf {
    environment::components().join("plugins").join(name).with_extension("wasm")
}

/// The component of a guest that misbehaves: a folder of `tests/guests`.
pub(crate) fn guest(name: &str) -> PathBuf {
    environment::components().join("guests").join(name).with_extension("wasm")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}
