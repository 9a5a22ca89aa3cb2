//! Which running server a command is for: its admin listener, and the token.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use weir_client::admin::Server;

use crate::config::Config;

/// Which server it is.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// The server's configuration, which says where its admin listener and the token are.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The admin listener, instead of the configuration's.
    #[arg(long, env = "WEIR_ADMIN_URL", global = true)]
    url: Option<String>,
    /// The file of the token, instead of the configuration's.
    #[arg(long, value_name = "FILE", env = "WEIR_ADMIN_TOKEN_FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The authorities that a server with TLS may have its certificate from, in PEM format, instead of those
    /// that the system trusts.
    #[arg(long, value_name = "FILE", env = "WEIR_ADMIN_CA_FILE", global = true)]
    ca_file: Option<PathBuf>,
}

impl ServerArguments {
    /// The configuration, if it is given.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Reads what is needed to administer it.
    ///
    /// # Errors
    /// There is no token.
    pub(super) fn find(&self) -> anyhow::Result<Server> {
        let config = self.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        let url = match &self.url {
            Some(url) => url.clone(),
            None if config.admin.tls.is_on() => format!("https://{}", config.admin.listen),
            None => format!("http://{}", config.admin.listen),
        };
        let has_source = self.config.is_some() || self.token_file.is_some();
        anyhow::ensure!(has_source, "say where the token is: --config FILE or --token-file FILE");
        let file = self.token_file.clone().unwrap_or_else(|| config.admin_token_file());
        let token = fs::read_to_string(&file)
            .with_context(|| format!("cannot read the admin token {}", file.display()))?;
        let ca_file = self.ca_file.clone();
        Ok(Server { url, token: token.trim().to_owned(), ca_file })
    }
}
