//! `weir plugin dev`: builds a plugin and puts it in service, and again whenever something else is saved.
//!
//! Nothing that goes wrong ends it: the author mends it and saves, or starts the server and saves. Out of
//! scope: noticing a save ([`weir_authoring::watch`]), and why a plugin is refused, which the server says.

use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use weir_authoring::watch::Sources;
use weir_client::admin::Server;
use weir_client::plugin::{Deploy, Plugins, With};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_runtime::plugin::manifest::Role;

use super::Source;
use super::build::{Built, build};
use crate::cli::with_causes;

/// How long between two looks at the sources. A save is noticed by the second look that finds the same.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The arguments of `weir plugin dev`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// What it is deployed as, if not by the name in its plugin.toml.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    name: Option<Name>,
    #[command(flatten)]
    with: With,
}

/// Builds and deploys until a signal arrives.
///
/// # Errors
/// The sources cannot be watched, or this cannot start.
pub(super) fn run(arguments: &Arguments, server: &Server, as_json: bool) -> anyhow::Result<()> {
    let plugins = Plugins::new(server)?;
    let mut author = Author { arguments, plugins, as_json, live: None };
    // Dropping it waits for cargo, which gets Ctrl-C from the terminal as this does. So none is left behind.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            ended = author.work() => ended,
        }
    });
    if let Some(Live { name, revision, .. }) = &author.live {
        eprintln!("{name} stays in service with revision {revision}");
    }
    ended
}

/// What is in service.
struct Live {
    name: Name,
    digest: PluginDigest,
    revision: u64,
}

struct Author<'a> {
    arguments: &'a Arguments,
    plugins: Plugins,
    as_json: bool,
    live: Option<Live>,
}

impl Author<'_> {
    /// Builds and deploys, and waits for a save, for as long as it can.
    async fn work(&mut self) -> anyhow::Result<()> {
        let folder = &self.arguments.source.path;
        // Looked at before the build, so that what is saved meanwhile is noticed.
        let mut sources = Sources::of(folder)?;
        eprintln!("Watching {} files in {}; Ctrl-C ends this", sources.count(), folder.display());
        loop {
            if let Err(error) = self.build_and_deploy().await {
                eprintln!("weir: {}", with_causes(&error));
                match &self.live {
                    Some(Live { name, revision, .. }) => {
                        eprintln!("{name} still has revision {revision}; save to try again");
                    }
                    None => eprintln!("nothing was deployed; save to try again"),
                }
            }
            while !sources.changed()? {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
    }

    async fn build_and_deploy(&mut self) -> anyhow::Result<()> {
        let (folder, profile) =
            (self.arguments.source.path.clone(), self.arguments.source.profile());
        let Built { bytes, digest, manifest, compiled, .. } =
            tokio::task::spawn_blocking(move || build(&folder, profile)).await??;
        let name = self.arguments.name.clone().unwrap_or(manifest.name);
        if let Some(live) = &self.live
            && (live.digest, &live.name) == (digest, &name)
        {
            eprintln!("{name} is the same as before, and has revision {}", live.revision);
            return Ok(());
        }
        self.plugins.push(bytes).await?;
        let is_policy = manifest.role == Role::Policy;
        let deploy = Deploy::of(name.clone(), digest, is_policy, self.arguments.with.clone());
        let answer = self.plugins.deploy(&deploy).await?;
        let took = compiled.elapsed();
        let revision = answer["revision"].as_u64().unwrap_or_default();
        match self.as_json {
            true => {
                let live_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                let digest = digest.to_string();
                println!(
                    "{}",
                    json!({ "name": name, "revision": revision, "digest": digest, "live_ms": live_ms })
                );
            }
            false => println!(
                "{name} has revision {revision}, {:.2} s after the compiler ended",
                took.as_secs_f64()
            ),
        }
        self.live = Some(Live { name, digest, revision });
        Ok(())
    }
}
