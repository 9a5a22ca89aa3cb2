//! The configuration of a server under test.

use std::path::{Path, PathBuf};

use toml::{Table, Value};
use weir_test_redis::Certificates;

use super::environment;

/// The grants that the pipeline `search` needs.
const SEARCH_GRANTS: [&str; 3] = ["embedding", "read", "settings"];

/// Builds a `weir.toml`: sets any key by its dotted path, with shortcuts for what most tests need.
#[derive(Clone)]
pub(crate) struct Config(Table);

impl Config {
    /// A configuration with a free port, a data folder, and the model with one session. It hosts
    /// nothing.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut config = Self(Table::new());
        config
            .set("server.listen", "127.0.0.1:0")
            .set("admin.listen", "127.0.0.1:0")
            // What the tests' own requests call it.
            .set("server.allowed_hosts", vec!["weir", "x"])
            .set("data.folder", text(&folder.join("data")))
            .set("embedding.library", text(&environment::library()))
            .set(&in_model("model"), text(&environment::model()))
            .set(&in_model("tokenizer"), text(&environment::tokenizer()))
            .set(&in_model("sessions"), 1)
            // A busy machine must not lead to a 202.
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
            section
                .as_table_mut()
                .unwrap_or_else(|| panic!("a part of the path {key} is not a table"))
        });
        table.insert(last.to_owned(), value.into());
        self
    }

    /// Removes a section: `config.remove("embedding.models")`.
    pub(crate) fn remove(&mut self, key: &str) -> &mut Self {
        let (path, last) = key.rsplit_once('.').unwrap_or(("", key));
        let table = path
            .split('.')
            .filter(|section| !section.is_empty())
            .try_fold(&mut self.0, |table, section| {
                table.get_mut(section).and_then(Value::as_table_mut)
            });
        table
            .and_then(|table| table.remove(last))
            .unwrap_or_else(|| panic!("{key} does not exist"));
        self
    }

    /// Hosts `component` as the pipeline `name`, without a policy. A grant is `embedding`, `read`
    /// or `write` (of all collections), `logging` or `settings`.
    pub(crate) fn pipeline(&mut self, name: &str, component: &Path, grants: &[&str]) -> &mut Self {
        self.set(&format!("pipelines.{name}.component"), text(component));
        for grant in grants {
            let key = |key: &str| format!("pipelines.{name}.grants.{key}");
            match *grant {
                "embedding" => self.set(&key("embedding"), Table::new()),
                "read" | "write" => self.set(&key(&format!("collections.{grant}")), vec!["*"]),
                "logging" | "settings" => self.set(&key(grant), true),
                other => panic!("'{other}' is not a known grant"),
            };
        }
        self
    }

    /// Has the listener of a section speak TLS.
    pub(crate) fn tls(&mut self, section: &str, certificates: &Certificates) -> &mut Self {
        self.set(&format!("{section}.tls.certificate_file"), text(&certificates.certificate()))
            .set(&format!("{section}.tls.key_file"), text(&certificates.key()))
    }

    /// Adds the policy `name`.
    pub(crate) fn policy(&mut self, name: &str, component: &Path) -> &mut Self {
        self.set(&format!("policies.{name}.component"), text(component))
    }

    /// Hosts `search` under `policy-default`; it searches `docs` unless configured otherwise.
    pub(crate) fn search(&mut self) -> &mut Self {
        self.policy("default", &plugin("policy-default"))
            .pipeline("search", &plugin("search"), &SEARCH_GRANTS)
            .set("pipelines.search.policy", "default")
            .set("pipelines.search.settings.collection", "docs")
    }

    /// Merges a configuration file into this one; its values win. A pipeline, policy or tenant of
    /// the same name is replaced as a whole.
    pub(crate) fn merge(&mut self, toml: &str) -> &mut Self {
        let other: Table = toml.parse().unwrap_or_else(|error| panic!("{error}\n{toml}"));
        merge(&mut self.0, other, &["pipelines", "policies", "tenants"]);
        self
    }

    /// Replaces each relative path of a component by the file that `find` returns for its name, and
    /// those of a model by the files of the tests' model.
    pub(crate) fn complete(&mut self, find: impl Fn(&str) -> PathBuf) -> &mut Self {
        for section in ["policies", "pipelines"] {
            let entries = self.0.get_mut(section).and_then(Value::as_table_mut);
            for (_, entry) in entries.into_iter().flatten() {
                let component = entry.get_mut("component").expect("it has a component");
                let path = Path::new(component.as_str().expect("it is a path"));
                if path.is_relative() {
                    let name = path.file_stem().and_then(|name| name.to_str());
                    *component = text(&find(name.expect("it is a file"))).into();
                }
            }
        }
        let models = self.0.get_mut("embedding").and_then(|embedding| embedding.get_mut("models"));
        for (_, model) in models.and_then(Value::as_table_mut).into_iter().flatten() {
            for (key, file) in
                [("model", environment::model()), ("tokenizer", environment::tokenizer())]
            {
                let path = model.get_mut(key).expect("a model has both files");
                if path.as_str().is_some_and(|path| Path::new(path).is_relative()) {
                    *path = text(&file).into();
                }
            }
        }
        self
    }

    /// The file's text.
    pub(crate) fn toml(&self) -> String {
        self.0.to_string()
    }
}

/// The component of a plugin: `echo`, `search`, `policy-default`.
pub(crate) fn plugin(name: &str) -> PathBuf {
    environment::components().join("plugins").join(name).with_extension("wasm")
}

/// The component of a test guest, a folder of `tests/guests`.
pub(crate) fn guest(name: &str) -> PathBuf {
    environment::components().join("guests").join(name).with_extension("wasm")
}

/// Where `cargo xtask test` puts the component of a document's crate. The file exists only if a
/// document has a crate of this name.
pub(crate) fn outside(name: &str) -> PathBuf {
    environment::components().join("outside").join(name).with_extension("wasm")
}

/// A configuration key of the only model of a server under test.
pub(crate) fn in_model(key: &str) -> String {
    format!("embedding.models.all-MiniLM-L6-v2.{key}")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths in tests are UTF-8")
}

/// Merges tables key by key, except that entries of the sections in `whole` are replaced.
fn merge(into: &mut Table, from: Table, whole: &[&str]) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) if whole.contains(&key.as_str()) => {
                into.extend(from);
            }
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from, &[]),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
