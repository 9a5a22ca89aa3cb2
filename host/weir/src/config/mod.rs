//! The configuration: one TOML file, one typed tree.
//!
//! Each section is defined by the crate that reads it; [`sections`] has those of the program
//! itself. [`ranges`] checks the ranges of numbers, and [`weir_runtime::diagnose`] locates mistakes in a file.
//! `examples/search/weir.toml` documents every key, which a test checks. Out of scope: what the
//! keys do, and overriding them from the environment.

mod ranges;
mod sections;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use weir_core::name::Name;

pub use sections::{Data, Embedding, Model, Plugins};
use weir_runtime::answers::config::{Backend, Cache};
use weir_runtime::diagnose::{Mistake, did_you_mean};
use weir_runtime::engine::config::Engine;
use weir_runtime::engine::size::Size;
use weir_runtime::pipeline::config::Pipeline;
use weir_runtime::policy::config::Policy;
use weir_runtime::tenant::config::Ingest;
use weir_server::config::{Admin, Log, Server};
use weir_server::identity::config::Tenant;

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The public listener and its limits.
    pub server: Server,
    /// The admin listener.
    pub admin: Admin,
    /// Where data is stored.
    pub data: Data,
    /// The limits of what one request may ingest.
    pub ingest: Ingest,
    /// The models, and how much work each accepts.
    pub embedding: Embedding,
    /// The limits of guests.
    pub engine: Engine,
    /// The cache of answers.
    pub cache: Cache,
    /// What is logged, and how.
    pub log: Log,
    /// What is deployed under names that are not configured.
    pub plugins: Plugins,
    /// Cache policies by name.
    pub policies: BTreeMap<Name, Policy>,
    /// Pipelines by name.
    pub pipelines: BTreeMap<Name, Pipeline>,
    /// Tenants by name. If there are none, every request belongs to the tenant `default`.
    pub tenants: BTreeMap<Name, Tenant>,
}

/// Why a configuration cannot be loaded.
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
    /// The file has a mistake.
    #[error("{path}:{mistake}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The mistake.
        mistake: Mistake,
    },
    /// Values that parse but are not valid, all at once.
    #[error("{path}:\n  {}", problems.join("\n  "))]
    Impossible {
        /// The file.
        path: PathBuf,
        /// One line per problem.
        problems: Vec<String>,
    },
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it are relative to its folder,
    /// and `~/` is the home folder.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML, or it has an unknown key, a value of the wrong
    /// type, or a value out of range.
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

    /// Parses `text` without checking ranges.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        toml::from_str(text).map_err(|error| Mistake::of(text, &error))
    }

    /// The sizes of the pipelines' guests.
    pub fn sizes(&self) -> impl Iterator<Item = Size> {
        self.pipelines.values().map(|pipeline| pipeline.size)
    }

    /// The files that the configuration names, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (String, &Path)> {
        let library = [("embedding.library".to_owned(), &self.embedding.library)];
        let models = self.embedding.models.iter().flat_map(|(name, model)| {
            let key = |key: &str| format!("embedding.models.{name}.{key}");
            [(key("model"), &model.model), (key("tokenizer"), &model.tokenizer)]
        });
        let policies = self.policies.iter();
        let policies = policies.map(|(name, policy)| ("policies", name, &policy.component));
        let pipelines = self.pipelines.iter();
        let pipelines = pipelines.map(|(name, pipeline)| ("pipelines", name, &pipeline.component));
        let components = policies.chain(pipelines);
        let components =
            components.map(|(section, name, path)| (format!("{section}.{name}.component"), path));
        let shared = &self.cache.shared;
        let redis = (shared.backend == Backend::Redis).then(|| shared.redis.files());
        let redis = redis.into_iter().flatten();
        let redis = redis.map(|(key, path)| (format!("cache.shared.redis.{key}"), path));
        let tls = [("server.tls", &self.server.tls), ("admin.tls", &self.admin.tls)];
        let tls = tls.into_iter().flat_map(|(section, tls)| {
            tls.files().map(move |(key, path)| (format!("{section}.{key}"), path))
        });
        let all = library.into_iter().chain(models).chain(components).chain(redis).chain(tls);
        all.map(|(key, path)| (key, path.as_path()))
    }

    /// The file of the administrator's token.
    #[must_use]
    pub fn admin_token_file(&self) -> PathBuf {
        match self.admin.token_file.as_os_str().is_empty() {
            true => self.data.folder.join("admin-token"),
            false => self.admin.token_file.clone(),
        }
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
        if !self.admin.token_file.as_os_str().is_empty() {
            resolve(&mut self.admin.token_file);
        }
        let tls = self.server.tls.files_mut().chain(self.admin.tls.files_mut());
        tls.for_each(resolve);
        resolve(&mut self.embedding.library);
        self.cache.shared.redis.files_mut().for_each(resolve);
        for model in self.embedding.models.values_mut() {
            resolve(&mut model.model);
            resolve(&mut model.tokenizer);
        }
        self.policies.values_mut().for_each(|policy| resolve(&mut policy.component));
        self.pipelines.values_mut().for_each(|pipeline| resolve(&mut pipeline.component));
    }

    /// All values that parse but are not valid, one line per problem.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        ranges::check(self, &mut problems);
        self.check_models(&mut problems);
        self.check_tenants(&mut problems);
        self.check_cache(&mut problems);
        let listeners = [
            ("server.listen", &self.server.listen, "127.0.0.1:8080"),
            ("admin.listen", &self.admin.listen, "127.0.0.1:8081"),
        ];
        for (key, listen, example) in listeners {
            let is_off = key == "admin.listen" && listen.is_empty();
            if !is_off && listen.parse::<SocketAddr>().is_err() {
                problems.push(format!(
                    "{key}: '{listen}' is not an address and port, such as {example}"
                ));
            }
        }
        for (section, tls) in [("server", &self.server.tls), ("admin", &self.admin.tls)] {
            problems.extend(tls.problem().map(|problem| format!("{section}.tls.{problem}")));
        }
        problems.extend(self.exposed_admin().map(|problem| format!("admin.listen: {problem}")));
        let of_pipelines = self.pipelines.iter().filter_map(|(name, pipeline)| {
            Some((format!("pipelines.{name}"), pipeline.cors.as_ref()?))
        });
        let of_others = self.plugins.cors.iter().map(|cors| ("plugins".to_owned(), cors));
        for (section, cors) in of_pipelines.chain(of_others) {
            let own = cors.problems().into_iter();
            problems.extend(own.map(|problem| format!("{section}.cors.{problem}")));
        }
        for (name, pipeline) in &self.pipelines {
            let Some(policy) = &pipeline.policy else { continue };
            if !self.policies.contains_key(policy) {
                let known = self.policies.keys().map(Name::as_str);
                let hint = did_you_mean(policy.as_str(), known);
                problems.push(format!(
                    "pipelines.{name}.policy: there is no [policies.{policy}]{hint}"
                ));
            }
        }
        problems
    }

    /// What is wrong with the admin listener if other machines reach it and it does not speak TLS.
    #[must_use]
    pub fn exposed_admin(&self) -> Option<String> {
        let listen = self.admin.listen.parse::<SocketAddr>().ok()?;
        let is_local = listen.ip().to_canonical().is_loopback();
        (!is_local && !self.admin.tls.is_on()).then(|| {
            format!(
                "other machines reach {listen}, and without TLS the token can be read on its way: set \
                 admin.tls.certificate_file and admin.tls.key_file, or listen on 127.0.0.1"
            )
        })
    }

    fn check_models(&self, problems: &mut Vec<String>) {
        let models = &self.embedding.models;
        for name in models.keys() {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
            if !(1..=128).contains(&name.len()) || !name.bytes().all(plain) {
                problems.push(format!(
                    "embedding.models: '{name}' is not a valid model name: use 1 to 128 letters, \
                     digits, '.', '_', '-' and '/'"
                ));
            }
        }
        match &self.embedding.default_model {
            _ if models.is_empty() => {}
            Some(name) if models.contains_key(name) => {}
            Some(name) => {
                let hint = did_you_mean(name, models.keys().map(String::as_str));
                problems.push(format!(
                    "embedding.default_model: there is no [embedding.models.{name}]{hint}"
                ));
            }
            None if models.len() == 1 => {}
            None => problems
                .push("embedding.default_model: required when there are several models".to_owned()),
        }
    }

    /// Whether the Redis of the shared tier can be one, and whether the parts of the cache that tenants are
    /// given are there, and leave some for the others.
    fn check_cache(&self, problems: &mut Vec<String>) {
        let of_redis = self.cache.shared.redis.problems().into_iter();
        problems.extend(of_redis.map(|problem| format!("cache.shared.redis.{problem}")));
        let parts = self.tenants.values().filter_map(|tenant| tenant.quota.cache_bytes);
        let (given, total) = (parts.fold(0, u64::saturating_add), self.cache.memory_bytes);
        let mut others = self.tenants.iter().filter(|(_, of)| of.quota.cache_bytes.is_none());
        if given > total {
            problems.push(format!(
                "tenants: quota.cache_bytes of all of them is {given}, but cache.memory_bytes is {total}"
            ));
        } else if given > 0
            && given == total
            && let Some((name, _)) = others.next()
        {
            problems.push(format!(
                "tenants.{name}: quota.cache_bytes of the other tenants leaves nothing of \
                 cache.memory_bytes = {total}; 0 stores nothing for it"
            ));
        }
    }

    fn check_tenants(&self, problems: &mut Vec<String>) {
        let mut hosts = BTreeMap::new();
        let mut prefixes: BTreeMap<&str, &Name> = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for (name, tenant) in &self.tenants {
            let own = tenant.problems().into_iter();
            problems.extend(own.map(|problem| format!("tenants.{name}: {problem}")));
            let mut taken = |key: &str, value: &str, other: Option<&Name>| {
                if let Some(other) = other {
                    problems.push(format!("tenants.{name}.{key}: '{value}' is also {other}'s"));
                }
            };
            for host in &tenant.hosts {
                taken("hosts", host, hosts.insert(host.to_ascii_lowercase(), name));
            }
            for key in &tenant.api_keys {
                taken("api_keys", key.id(), keys.insert(key.id(), name));
            }
            if let Some(prefix) = tenant.path_prefix.as_deref() {
                let below = |a: &str, b: &str| format!("{a}/").starts_with(&format!("{b}/"));
                let overlaps = prefixes
                    .iter()
                    .find(|(other, _)| below(prefix, other) || below(other, prefix))
                    .map(|(_, other)| *other);
                taken("path_prefix", prefix, overlaps);
                prefixes.insert(prefix, name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
