//! `weir serve`: the configuration becomes an app, and the app is served.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use weir_server::http::Service;
use weir_server::listener::{self, Signals};
use weir_server::telemetry::log;

use crate::build;
use crate::config::Config;

/// What `weir serve` is given.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
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
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
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
    let listener = listener::bind(&config.server.listen).await?;
    let app = Arc::new(build::app(config).await?);
    app.metrics.spawn_upkeep();
    let address = listener.local_addr()?;
    // For whoever started it and waits; nobody may be there to read it.
    let _ = writeln!(std::io::stdout(), "weir listening on {address}");
    tracing::info!("listening on http://{address}");
    listener::serve(listener, Service::new(app), signals).await;
    Ok(())
}
