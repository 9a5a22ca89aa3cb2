//! `weir serve`: builds an app from the configuration and serves it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use weir_server::http::Service;
use weir_server::identity::admin_token::AdminToken;
use weir_server::listener::tls::Certificate;
use weir_server::listener::{self, Listener, Signals};
use weir_server::telemetry::log::{self, Logging};
use weir_server::telemetry::upkeep;

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
    /// Listen here for administrators instead of on admin.listen; empty for no admin listener.
    #[arg(long, value_name = "ADDRESS:PORT", env = "WEIR_ADMIN_LISTEN")]
    admin_listen: Option<String>,
    /// Deploy what the configuration says, in place of what administrators have deployed since.
    #[arg(long)]
    apply: bool,
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
    if let Some(listen) = &arguments.admin_listen {
        config.admin.listen.clone_from(listen);
        // What the file says was checked when it was loaded.
        if let Some(problem) = config.exposed_admin() {
            anyhow::bail!("--admin-listen: {problem}");
        }
    }
    let log = log::start(&config.log).context("log.level")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let served = runtime.block_on(serve(config, arguments.apply, &log));
    // The drain is over, so this does not wait for a text that is still being split.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, apply: bool, log: &Logging) -> anyhow::Result<()> {
    let signals = Signals::new().context("cannot install signal handlers")?;
    // First, so that a port in use is reported before a model is loaded, and so is a certificate.
    let certificate = Certificate::load(&config.server.tls).context("[server.tls]")?;
    let admin_certificate = Certificate::load(&config.admin.tls).context("[admin.tls]")?;
    let public = listener::bind(&config.server.listen, "--listen or server.listen").await?;
    let admin = match config.admin.listen.as_str() {
        "" => None,
        address => Some(listener::bind(address, "--admin-listen or admin.listen").await?),
    };
    let token_file = config.admin_token_file();
    let app = Arc::new(build::app(config, apply).await?);
    app.metrics.spawn_upkeep();
    let served = Arc::downgrade(&app);
    upkeep::spawn(move || served.upgrade().map(|app| app.turn()));
    log.spawn_counting();
    let address = public.local_addr()?;
    let mut said = format!("weir listening on {address}\n");
    tracing::info!("listening on {}{address}", scheme(certificate.as_ref()));
    // The data folder exists by now.
    let token = admin.as_ref().map(|_| AdminToken::load_or_create(&token_file)).transpose()?;
    let token = token.map(Arc::new);
    let service = Service::public(Arc::clone(&app), address, token.clone());
    let mut listeners = vec![Listener { name: "public", socket: public, service, certificate }];
    if let (Some(admin), Some(token)) = (admin, token) {
        let address = admin.local_addr()?;
        let _ = writeln!(said, "weir admin listening on {address}");
        let (service, scheme) =
            (Service::admin(Arc::clone(&app), address, token), scheme(admin_certificate.as_ref()));
        let token_file = token_file.display();
        tracing::info!(%token_file, "listening on {scheme}{address} for administrators");
        let (name, certificate) = ("admin", admin_certificate);
        listeners.push(Listener { name, socket: admin, service, certificate });
    }
    // For a parent process that waits for it. Nobody may be reading, so errors are ignored.
    let _ = std::io::stdout().write_all(said.as_bytes());
    Ok(listener::serve(app, listeners, signals).await?)
}

/// How URLs of a listener with this certificate begin.
fn scheme(certificate: Option<&Certificate>) -> &'static str {
    if certificate.is_some() { "https://" } else { "http://" }
}
