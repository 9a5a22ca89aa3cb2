//! `weir serve`: the configuration becomes an [`App`], and the app is served.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::app::{App, Lifecycle};
use crate::config::Config;
use crate::http::Service;
use crate::pipeline;
use crate::server::{self, Signals};
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
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?
        .block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let signals = Signals::new().context("signals cannot be handled")?;
    // First, so that a port in use is said before a model is loaded.
    let listener = server::bind(&config.server.listen).await?;
    let app = start(config).await?;
    app.metrics.spawn_upkeep();
    let address = listener.local_addr()?;
    // For whoever started it and waits; nobody may be there to read it.
    let _ = writeln!(std::io::stdout(), "weir listening on {address}");
    tracing::info!("listening on http://{address}");
    server::serve(listener, Service::new(app), signals).await;
    Ok(())
}

async fn start(config: Config) -> anyhow::Result<Arc<App>> {
    Ok(Arc::new(App {
        pipelines: pipeline::Registry,
        metrics: Metrics::install().context("the metrics' recorder")?,
        lifecycle: Lifecycle::default(),
        config,
    }))
}
