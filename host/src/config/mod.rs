//! The configuration: one TOML file, one typed tree.
//!
//! [`sections`] holds every key with its default; [`diagnose`] says where a file is wrong
//! and what was probably meant. `examples/search/weir.toml` documents every key and is held
//! to it by a test. Left out: what the keys do, and overriding them
//! from the environment.

mod diagnose;
mod sections;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use weir_backends::name::Name;

pub use diagnose::Mistake;
pub use sections::{
    Cache, Data, Embedding, Engine, Ingest, Log, LogFormat, Pipeline, Policy, Server, Setting,
    Settings,
};

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The public listener and its limits.
    pub server: Server,
    /// Where data is kept.
    pub data: Data,
    /// The bounds of what one request may ingest.
    pub ingest: Ingest,
    /// The model, and how much work it takes on.
    pub embedding: Embedding,
    /// What guests may use.
    pub engine: Engine,
    /// The cache of answers.
    pub cache: Cache,
    /// What the log says.
    pub log: Log,
    /// Cache policies by name.
    pub policies: BTreeMap<Name, Policy>,
    /// Pipelines by name.
    pub pipelines: BTreeMap<Name, Pipeline>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: std::io::Error,
    },
    /// The file is wrong at one place.
    #[error("{path}:{mistake}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where and what.
        mistake: Mistake,
    },
    /// Values that parse but cannot be; all of them at once.
    #[error("{path}:\n  {}", problems.join("\n  "))]
    Impossible {
        /// The file.
        path: PathBuf,
        /// One line a key.
        problems: Vec<String>,
    },
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it are relative to its folder,
    /// and `~/` is the home folder.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML, has an unknown key, a value of a wrong type, or
    /// one out of its range.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let mut config = Self::parse(&text)
            .map_err(|mistake| ConfigError::Wrong { path: path.to_owned(), mistake })?;
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(ConfigError::Impossible { path: path.to_owned(), problems });
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        config.resolve_paths(folder);
        Ok(config)
    }

    /// Parses `text`, without looking at ranges.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        toml::from_str(text).map_err(|error| Mistake::of(text, &error))
    }

    /// The files that it names, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (String, &Path)> {
        let embedding = [
            ("embedding.library", &self.embedding.library),
            ("embedding.model", &self.embedding.model),
            ("embedding.tokenizer", &self.embedding.tokenizer),
        ];
        let policies = self.policies.iter();
        let policies = policies.map(|(name, policy)| ("policies", name, &policy.component));
        let pipelines = self.pipelines.iter();
        let pipelines = pipelines.map(|(name, pipeline)| ("pipelines", name, &pipeline.component));
        let components = policies.chain(pipelines);
        let components =
            components.map(|(section, name, path)| (format!("{section}.{name}.component"), path));
        let embedding = embedding.into_iter().map(|(key, path)| (key.to_owned(), path));
        embedding.chain(components).map(|(key, path)| (key, path.as_path()))
    }

    fn resolve_paths(&mut self, folder: &Path) {
        let home = env::home_dir().unwrap_or_default();
        let resolve = |path: &mut PathBuf| {
            *path = match path.strip_prefix("~") {
                Ok(rest) => home.join(rest),
                Err(_) => folder.join(&*path),
            };
        };
        resolve(&mut self.data.folder);
        resolve(&mut self.embedding.library);
        resolve(&mut self.embedding.model);
        resolve(&mut self.embedding.tokenizer);
        self.policies.values_mut().for_each(|policy| resolve(&mut policy.component));
        self.pipelines.values_mut().for_each(|pipeline| resolve(&mut pipeline.component));
    }

    /// Everything that parses but cannot work, one line a key.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        sections::check_ranges(self, &mut problems);
        if self.server.listen.parse::<SocketAddr>().is_err() {
            let listen = &self.server.listen;
            problems.push(format!(
                "server.listen: '{listen}' is no address and port, such as 127.0.0.1:8080"
            ));
        }
        for (name, pipeline) in &self.pipelines {
            let Some(policy) = &pipeline.policy else { continue };
            if !self.policies.contains_key(policy) {
                let known = self.policies.keys().map(Name::as_str);
                let hint = diagnose::did_you_mean(policy.as_str(), known);
                problems.push(format!(
                    "pipelines.{name}.policy: there is no [policies.{policy}]{hint}"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests;
