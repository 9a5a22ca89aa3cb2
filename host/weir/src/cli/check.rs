//! `weir check`: checks a configuration without serving it.

use std::path::Path;

use anyhow::{Context as _, ensure};
use weir_runtime::engine::Engines;
use weir_server::listener::tls::Certificate;

use crate::build;
use crate::config::Config;
use crate::shared;

/// Checks the configuration at `path`, the files that it names, and every component.
///
/// # Errors
/// The problems that can be found without opening a store or loading a model. The file itself,
/// the files that it names and the components are checked in this order; the first of these
/// steps that finds problems is the last.
pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let missing: Vec<String> = config
        .files()
        .filter(|(_, file)| !file.is_file())
        .map(|(key, file)| format!("{key}: there is no file {}", file.display()))
        .collect();
    ensure!(missing.is_empty(), "{}:\n  {}", path.display(), missing.join("\n  "));
    shared::check(&config.cache)?;
    for (section, tls) in [("[server.tls]", &config.server.tls), ("[admin.tls]", &config.admin.tls)]
    {
        Certificate::load(tls).context(section)?;
    }
    let engines = Engines::new(&config.engine, config.sizes())?;
    build::check_plugins(&engines, &config)?;
    println!(
        "{}: valid, with {} pipelines, {} policies and {} tenants",
        path.display(),
        config.pipelines.len(),
        config.policies.len(),
        config.tenants.len(),
    );
    Ok(())
}
