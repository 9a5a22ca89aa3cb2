//! What the command line does with a running server, over HTTP: `weir ingest` turns files into documents of
//! a collection, and `weir cache` ([`cache`]) administers the cache, `weir plugin` ([`plugin`]) what is deployed,
//! and `weir token` ([`token`]) who may.
//!
//! [`files`] finds and reads the files, [`extract`] extracts their text, [`client`] talks to
//! the server, [`trust`] says which servers are trusted, and [`report`] shows progress and results. Out of scope: splitting and
//! embedding, which the server does.

use std::path::PathBuf;
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use weir_core::name::Name;

use self::client::Client;
use self::files::{Skipped, Source};
use self::report::{Progress, Summary};

pub mod admin;
pub mod cache;
mod client;
mod extract;
mod files;
mod ndjson;
pub mod plugin;
mod report;
mod table;
mod time;
pub mod token;
mod trust;
mod waiting;

/// The most that one request carries, unless a single document is larger. It is small so that
/// progress is visible and a request does not occupy the server for long.
const MAX_BATCH_BYTES: usize = 256 << 10;
const MAX_BATCH_DOCUMENTS: usize = 32;

/// The arguments of `weir ingest`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files and folders: Markdown, HTML, text, and NDJSON of {"id","text","metadata"}.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The collection; created if it does not exist.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    collection: Name,
    /// The server, including the tenant's path prefix if there is one.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The tenant's API key. Prefer the environment variable: every user of the machine can see
    /// arguments.
    #[arg(long, env = "WEIR_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The authorities that a server with TLS may have its certificate from, in PEM format, instead of those
    /// that the system trusts.
    #[arg(long, value_name = "FILE", env = "WEIR_CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// Ingests the files and prints a summary.
///
/// # Errors
/// The server cannot be reached, something was refused, or nothing was ingested.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(ingest(arguments))?;
    print!("{summary}");
    anyhow::ensure!(
        summary.failed.is_empty(),
        "some documents were not stored; see the list above"
    );
    anyhow::ensure!(summary.documents > 0, "nothing was ingested");
    Ok(())
}

async fn ingest(arguments: &Arguments) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let Arguments { url, api_key, ca_file, collection, .. } = arguments;
    let client = Client::new(url, ca_file.as_deref(), api_key.as_deref(), collection.as_str())?;
    client.create_collection().await?;
    let (sources, skipped) = files::find(&arguments.paths);
    let mut run = Run {
        client,
        // Each run has its own keys: ingesting the same files again is another request, because
        // the collection may have changed in between.
        nonce: uuid::Uuid::now_v7().simple().to_string(),
        progress: Progress::new(sources.iter().map(|source| source.bytes).sum()),
        batch: Batch::default(),
        summary: Summary { skipped, ..Summary::default() },
        last_position: None,
    };
    for source in &sources {
        run.take(source).await?;
    }
    run.flush().await?;
    if let Some(position) = run.last_position {
        run.progress.note("waiting for everything to become searchable");
        run.client.searchable(position).await?;
    }
    run.progress.finish();
    run.summary.elapsed = started.elapsed();
    Ok(run.summary)
}

/// A running ingest.
struct Run {
    client: Client,
    nonce: String,
    progress: Progress,
    batch: Batch,
    summary: Summary,
    /// The position of the last write, if it was not yet searchable when it was answered.
    last_position: Option<u64>,
}

/// Documents that are sent together.
#[derive(Default)]
struct Batch {
    ndjson: String,
    documents: usize,
    /// Bytes of the files that are finished once the batch is stored.
    source_bytes: u64,
    /// Where its first and last documents come from.
    from: Option<(String, String)>,
}

impl Run {
    async fn take(&mut self, source: &Source) -> anyhow::Result<()> {
        let (documents, skipped) = files::read(source);
        self.summary.skipped.extend(skipped);
        for document in documents {
            let bytes = self.batch.ndjson.len() + document.len();
            if bytes > MAX_BATCH_BYTES || self.batch.documents == MAX_BATCH_DOCUMENTS {
                self.flush().await?;
            }
            self.batch.add(&document, source);
        }
        self.batch.source_bytes += source.bytes;
        Ok(())
    }

    /// Sends the batch. Notes a refusal and continues; an unreachable server ends the run.
    async fn flush(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.documents > 0 {
            let digest = hex::encode(&Sha256::digest(batch.ndjson.as_bytes())[..16]);
            let key = format!("{}-{digest}", self.nonce);
            let bytes = batch.ndjson.len();
            match self.client.put(batch.ndjson, &key).await {
                Ok(written) => {
                    self.summary.documents += batch.documents;
                    self.summary.bytes += bytes;
                    self.last_position = (!written.searchable).then_some(written.position);
                }
                Err(error) if error.is::<reqwest::Error>() => return Err(error),
                Err(error) => {
                    let (first, last) = batch.from.unwrap_or_default();
                    let what = format!("{} documents of {first} to {last}", batch.documents);
                    self.summary.failed.push(Skipped { what, reason: format!("{error:#}") });
                }
            }
        }
        self.progress.advance(batch.source_bytes);
        Ok(())
    }
}

impl Batch {
    fn add(&mut self, document: &str, source: &Source) {
        self.ndjson.push_str(document);
        self.ndjson.push('\n');
        self.documents += 1;
        let id = &source.id;
        self.from.get_or_insert_with(|| (id.clone(), id.clone())).1.clone_from(id);
    }
}
