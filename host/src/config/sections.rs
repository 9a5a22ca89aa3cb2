//! Every key of the configuration, its unit, its default and its range.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use weir_backends::name::Name;

use super::Config;

const MIB: usize = 1 << 20;
const MIB_U64: u64 = 1 << 20;

/// `[server]`: the public listener and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port; port 0 takes a free one.
    pub listen: String,
    /// Connections at once; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// From a request's first byte to the end of its head.
    pub header_timeout_ms: u64,
    /// For all of a body.
    pub body_timeout_ms: u64,
    /// Without a request or any byte moved, a connection is closed.
    pub idle_timeout_ms: u64,
    /// A request's head; at least 8 KiB.
    pub max_header_bytes: usize,
    /// A body, but for those of documents.
    pub max_body_bytes: usize,
    /// Such bodies at once, added up; further requests wait for up to a second.
    pub max_bodies_bytes: usize,
    /// HTTP/2 streams at once on one connection.
    pub max_concurrent_streams: u32,
    /// What requests in flight get to finish after SIGTERM; at most 10 s.
    pub drain_timeout_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            max_connections: 4_096,
            header_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 60_000,
            max_header_bytes: 16_384,
            max_body_bytes: MIB,
            max_bodies_bytes: 256 * MIB,
            max_concurrent_streams: 256,
            drain_timeout_ms: 10_000,
        }
    }
}

/// `[data]`: where data is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// One server's own folder; made when it is not there.
    pub folder: PathBuf,
}

impl Default for Data {
    fn default() -> Self {
        Self { folder: PathBuf::from("data") }
    }
}

/// `[ingest]`: what one request may bring, and how many are taken at once.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ingest {
    /// A body of documents.
    pub max_body_bytes: usize,
    /// For all of such a body.
    pub body_timeout_ms: u64,
    /// Documents in one request.
    pub max_documents: usize,
    /// A document's text.
    pub max_text_bytes: usize,
    /// A document's metadata, as canonical JSON.
    pub max_metadata_bytes: usize,
    /// Requests carried out at once.
    pub max_concurrent: usize,
    /// What a further request waits for its turn before it is refused.
    pub queue_timeout_ms: u64,
    /// What a write waits to be searchable before it is answered as only durable.
    pub searchable_timeout_ms: u64,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            max_body_bytes: 64 * MIB,
            body_timeout_ms: 120_000,
            max_documents: 1_000,
            max_text_bytes: MIB,
            max_metadata_bytes: 64 << 10,
            max_concurrent: 2,
            queue_timeout_ms: 10_000,
            searchable_timeout_ms: 10_000,
        }
    }
}

/// `[embedding]`: the model, and how much work it takes on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Embedding {
    /// ONNX Runtime's shared library.
    pub library: PathBuf,
    /// The model's file.
    pub model: PathBuf,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// What requests call the model.
    pub name: String,
    /// Sessions, one thread each; 0 is one a core.
    pub sessions: usize,
    /// Tokens in one batch, padding included.
    pub max_batch_tokens: usize,
    /// Texts that wait; further ones are refused.
    pub max_queued_texts: usize,
    /// Memory for vectors of texts embedded before.
    pub cache_bytes: u64,
}

impl Default for Embedding {
    fn default() -> Self {
        Self {
            library: PathBuf::from("libonnxruntime.so"),
            model: PathBuf::from("model.onnx"),
            tokenizer: PathBuf::from("tokenizer.json"),
            name: "all-MiniLM-L6-v2".to_owned(),
            sessions: 0,
            max_batch_tokens: 512,
            max_queued_texts: 1_024,
            cache_bytes: 64 * MIB_U64,
        }
    }
}

/// `[engine]`: what guests may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Threads that run guests; 0 is one a core.
    pub guest_threads: usize,
    /// Memories and tables of one request, added up.
    pub max_memory_bytes: usize,
    /// Guests at once.
    pub max_concurrent_guests: usize,
    /// What a request waits for a guest's place before it is refused.
    pub queue_timeout_ms: u64,
    /// For a pipeline's whole run, where the pipeline sets none.
    pub deadline_ms: u64,
    /// A pipeline's answer.
    pub max_answer_bytes: usize,
    /// A component's file.
    pub max_component_bytes: u64,
    /// Host calls of one request at once.
    pub max_concurrent_host_calls: usize,
    /// Fuel of one policy decision, wasmtime's unit: about one an instruction.
    pub policy_fuel: u64,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            guest_threads: 0,
            max_memory_bytes: 64 * MIB,
            max_concurrent_guests: 256,
            queue_timeout_ms: 1_000,
            deadline_ms: 10_000,
            max_answer_bytes: 4 * MIB,
            max_component_bytes: 32 * MIB_U64,
            max_concurrent_host_calls: 64,
            policy_fuel: 10_000_000,
        }
    }
}

/// `[cache]`: the cache of answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// The memory tier, entries and their keys.
    pub memory_bytes: u64,
    /// One entry; larger answers are not stored.
    pub max_entry_bytes: usize,
    /// Tags whose last position is kept.
    pub max_tags: usize,
    /// Keys computed at once.
    pub max_flights: usize,
    /// Requests that wait for one key.
    pub max_followers: usize,
    /// For how long a key whose answer could not be stored does not make its callers wait
    /// for each other.
    pub uncacheable_ttl_ms: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * MIB_U64,
            max_entry_bytes: MIB,
            max_tags: 100_000,
            max_flights: 10_000,
            max_followers: 10_000,
            uncacheable_ttl_ms: 10_000,
        }
    }
}

/// `[log]`: what the log says, on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or directives as `tracing` takes them: `info,weir::http=debug`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[policies.NAME]`: a cache policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The component's file.
    pub component: PathBuf,
    /// What its `plan` is given.
    #[serde(default)]
    pub settings: Settings,
}

/// `[pipelines.NAME]`: a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The component's file.
    pub component: PathBuf,
    /// Its cache policy; without one its answers are never cached.
    pub policy: Option<Name>,
    /// Imports that it may have, such as `weir:embedding/embedder`.
    #[serde(default)]
    pub grants: Vec<String>,
    /// For its whole run; `engine.deadline_ms` where it is not set.
    pub deadline_ms: Option<u64>,
    /// For one request; `engine.max_memory_bytes` where it is not set.
    pub max_memory_bytes: Option<usize>,
    /// What its `settings` import answers.
    #[serde(default)]
    pub settings: Settings,
}

/// A plugin's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub BTreeMap<String, Setting>);

impl Settings {
    /// As the plugin reads them: names and texts, by name.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, setting)| (name.clone(), setting.0.clone())).collect()
    }
}

/// A setting, as text: a string as it is, a number or a boolean as TOML would write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting(pub String);

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Setting;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_str<E>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Adds a line for each number that is out of its range.
pub(super) fn check_ranges(config: &Config, problems: &mut Vec<String>) {
    let Config { server, ingest, embedding, engine, cache, .. } = config;
    let mut within = |key: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            problems.push(if most == u64::MAX {
                format!("{key} = {value}: must be at least {least}")
            } else {
                format!("{key} = {value}: must be {least} to {most}")
            });
        }
    };
    const HOUR_MS: u64 = 3_600_000;
    const ANY: u64 = u64::MAX;
    within("server.max_connections", server.max_connections as u64, 1, 1 << 20);
    within("server.header_timeout_ms", server.header_timeout_ms, 1, HOUR_MS);
    within("server.body_timeout_ms", server.body_timeout_ms, 1, HOUR_MS);
    within("server.idle_timeout_ms", server.idle_timeout_ms, 1, HOUR_MS);
    within("server.max_header_bytes", server.max_header_bytes as u64, 8_192, MIB_U64);
    within("server.max_body_bytes", server.max_body_bytes as u64, 1, 1 << 30);
    let largest = server.max_body_bytes as u64;
    within("server.max_bodies_bytes", server.max_bodies_bytes as u64, largest, 1 << 40);
    within("server.max_concurrent_streams", server.max_concurrent_streams.into(), 1, 65_536);
    within("server.drain_timeout_ms", server.drain_timeout_ms, 0, 10_000);
    within("ingest.max_body_bytes", ingest.max_body_bytes as u64, 1, 1 << 30);
    within("ingest.body_timeout_ms", ingest.body_timeout_ms, 1, HOUR_MS);
    within("ingest.max_documents", ingest.max_documents as u64, 1, 100_000);
    // Offsets of chunks are 32 bits.
    within("ingest.max_text_bytes", ingest.max_text_bytes as u64, 1, 1 << 30);
    within("ingest.max_metadata_bytes", ingest.max_metadata_bytes as u64, 2, MIB_U64);
    within("ingest.max_concurrent", ingest.max_concurrent as u64, 1, 1_024);
    within("ingest.queue_timeout_ms", ingest.queue_timeout_ms, 1, HOUR_MS);
    within("ingest.searchable_timeout_ms", ingest.searchable_timeout_ms, 0, HOUR_MS);
    within("embedding.sessions", embedding.sessions as u64, 0, 1_024);
    within("embedding.max_batch_tokens", embedding.max_batch_tokens as u64, 256, 1 << 20);
    within("embedding.max_queued_texts", embedding.max_queued_texts as u64, 1, 1 << 20);
    within("engine.guest_threads", engine.guest_threads as u64, 0, 1_024);
    within("engine.max_memory_bytes", engine.max_memory_bytes as u64, 65_536, 4 << 30);
    within("engine.max_concurrent_guests", engine.max_concurrent_guests as u64, 1, 65_536);
    within("engine.queue_timeout_ms", engine.queue_timeout_ms, 1, HOUR_MS);
    within("engine.deadline_ms", engine.deadline_ms, 1, HOUR_MS);
    within("engine.max_answer_bytes", engine.max_answer_bytes as u64, 1, 1 << 30);
    within("engine.max_component_bytes", engine.max_component_bytes, 1, 1 << 30);
    within("engine.max_concurrent_host_calls", engine.max_concurrent_host_calls as u64, 1, 4_096);
    within("engine.policy_fuel", engine.policy_fuel, 1, ANY);
    within("cache.max_tags", cache.max_tags as u64, 1, ANY);
    within("cache.max_flights", cache.max_flights as u64, 1, ANY);
    within("cache.max_followers", cache.max_followers as u64, 1, ANY);
    for (name, pipeline) in &config.pipelines {
        if let Some(deadline_ms) = pipeline.deadline_ms {
            within(&format!("pipelines.{name}.deadline_ms"), deadline_ms, 1, HOUR_MS);
        }
        if let Some(bytes) = pipeline.max_memory_bytes {
            let key = format!("pipelines.{name}.max_memory_bytes");
            within(&key, bytes as u64, 65_536, engine.max_memory_bytes as u64);
        }
    }
}
