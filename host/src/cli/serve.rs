//! `weir serve`: the configuration becomes an [`App`], and the app is served.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use weir_backends::catch_up::CatchUp;
use weir_backends::embedding::Embedder;
use weir_backends::embedding::expected::Expected;
use weir_backends::embedding::onnx::{OnnxConfig, OnnxEmbedder};
use weir_backends::sql::sqlite::SqliteTruth;
use weir_backends::vector::VectorStore;
use weir_backends::vector::exact::ExactStore;
use weir_cache::tag::TagTable;

use crate::app::{App, Lifecycle};
use crate::config::{self, Config};
use crate::documents::{DocumentService, follow_commits};
use crate::engine::Engines;
use crate::engine::threads::GuestThreads;
use crate::http::Service;
use crate::http::body::Room;
use crate::pipeline::{self, call::Services};
use crate::server::{self, Signals};
use crate::serving::Serving;
use crate::telemetry::{log, metrics::Metrics};

/// What `weir serve` is given.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The configuration; examples/search/weir.toml documents every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Listen here instead of at server.listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// Serves until a signal says otherwise.
///
/// # Errors
/// Anything that keeps the server from starting.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut config = Config::load(&arguments.config)?;
    if let Some(listen) = &arguments.listen {
        config.server.listen.clone_from(listen);
    }
    log::start(&config.log).context("log.level")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let served = runtime.block_on(serve(config));
    // The drain's time is over: a text that is still being split is not waited for.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let signals = Signals::new().context("signals cannot be handled")?;
    // First, so that a port in use is said before a model is loaded.
    let listener = server::bind(&config.server.listen).await?;
    let app = Arc::new(start(config).await?);
    app.metrics.spawn_upkeep();
    let address = listener.local_addr()?;
    // For whoever started it and waits; nobody may be there to read it.
    let _ = writeln!(std::io::stdout(), "weir listening on {address}");
    tracing::info!("listening on http://{address}");
    server::serve(listener, Service::new(app), signals).await;
    Ok(())
}

/// Opens and loads everything, the cheapest refusals first.
async fn start(config: Config) -> anyhow::Result<App> {
    let metrics = Metrics::install().context("the metrics' recorder")?;
    let (engines, pipelines, config) = tokio::task::spawn_blocking(move || {
        let engines = Engines::new(&config.engine)?;
        let pipelines = pipeline::Registry::load(&engines, &config)?;
        anyhow::Ok((engines, pipelines, config))
    })
    .await??;
    let truth = SqliteTruth::open(&config.data.folder).await?;
    let tags = Arc::new(TagTable::new(config.cache.max_tags, truth.position().await?));
    follow_commits(&truth, tags.clone());
    let embedder = load_model(&config.embedding).await?;
    let vectors: Arc<dyn VectorStore> = Arc::new(
        ExactStore::open(&config.data.folder, embedder.model_digest(), embedder.dimensions())
            .await?,
    );
    let catch_up = CatchUp::start(truth.clone(), embedder.clone(), vectors.clone());
    let documents = Arc::new(DocumentService::new(
        truth.clone(),
        catch_up,
        embedder.clone(),
        config.ingest.clone(),
    ));
    let services = Arc::new(Services {
        embedder: embedder.clone(),
        vectors: vectors.clone(),
        truth,
        documents: documents.clone(),
        tags: tags.clone(),
        io: tokio::runtime::Handle::current(),
    });
    let threads =
        GuestThreads::start(&config.engine, engines.clock()).context("the guests' threads")?;
    let lifecycle = Lifecycle::default();
    Ok(App {
        serving: Arc::new(Serving::new(
            &config.cache,
            threads,
            services,
            lifecycle.detached.clone(),
        )),
        documents,
        vectors,
        embedder,
        tags,
        pipelines,
        engines,
        metrics,
        lifecycle,
        bodies: Room::new(config.server.max_bodies_bytes),
        config,
    })
}

async fn load_model(config: &config::Embedding) -> anyhow::Result<Arc<dyn Embedder>> {
    let config::Embedding { library, model, tokenizer, .. } = config.clone();
    let config = OnnxConfig {
        model_name: config.name.clone(),
        expected: Expected::of_model(&config.name),
        sessions: config.sessions,
        max_batch_tokens: config.max_batch_tokens,
        max_queued_texts: config.max_queued_texts,
        cache_bytes: config.cache_bytes,
        ..OnnxConfig::new(library, model, tokenizer)
    };
    Ok(tokio::task::spawn_blocking(|| OnnxEmbedder::load(config)).await??)
}
