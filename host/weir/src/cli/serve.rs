//! `weir serve`: builds an app from the configuration and serves it.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use weir_server::http::Service;
use weir_server::listener::{self, Signals};
use weir_server::telemetry::latencies;
use weir_server::telemetry::log::{self, Logging};

use crate::build;
use crate::config::Config;

/// The arguments of `weir serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration; examples/search/weir.toml documents every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Listen here instead of on server.listen; port 0 picks a free port.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// Serves until a signal arrives.
///
/// # Errors
/// The server cannot start.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut config = Config::load(&arguments.config)?;
    if let Some(listen) = &arguments.listen {
        config.server.listen.clone_from(listen);
    }
    let log = log::start(&config.log).context("log.level")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let served = runtime.block_on(serve(config, &log));
    // The drain is over, so this does not wait for a text that is still being split.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, log: &Logging) -> anyhow::Result<()> {
    let signals = Signals::new().context("cannot install signal handlers")?;
    // First, so that a port in use is reported before a model is loaded.
    let listener = listener::bind(&config.server.listen).await?;
    let app = Arc::new(build::app(config).await?);
    app.metrics.spawn_upkeep();
    let served = Arc::downgrade(&app);
    latencies::spawn_upkeep(move || Some(served.upgrade()?.deployments.current()));
    log.spawn_counting();
    let address = listener.local_addr()?;
    // For a parent process that waits for it. Nobody may be reading, so errors are ignored.
    let _ = writeln!(std::io::stdout(), "weir listening on {address}");
    tracing::info!("listening on http://{address}");
    listener::serve(listener, Service::new(app, address), signals).await;
    Ok(())
}
