//! An administrator who tries a policy in shadow, by `weir plugin`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::candidates::Policy;
use crate::commands::replay::stage::Stage;

/// The name of the policy.
const POLICY: &str = "default";

pub(super) struct Administrator {
    binary: PathBuf,
    url: String,
    token_file: PathBuf,
}

/// Hit ratios of a report, and how many requests were dropped.
pub(super) struct Hits {
    pub(super) deployed: f64,
    pub(super) candidate: f64,
    pub(super) dropped: u64,
}

impl Administrator {
    /// That of a server which this binary is.
    pub(super) fn of(binary: &Path, stage: &Stage) -> Self {
        let url = stage.server.admin_url();
        Self { binary: binary.to_owned(), url, token_file: stage.token_file() }
    }

    /// Pushes a policy, and begins to try it.
    pub(super) async fn try_in_shadow(&self, components: &Path, policy: &Policy) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let manifest = folder.path().join("plugin.toml");
        std::fs::write(&manifest, policy.manifest())?;
        let (component, manifest) = (policy.component(components), manifest.display().to_string());
        let push = ["push", &component.display().to_string(), "--manifest", &manifest];
        let pushed = self.plugin(&push.map(ToOwned::to_owned)).await?;
        let digest = pushed["digest"].as_str().context("a push has no digest")?;
        let mut shadow = vec!["shadow".to_owned(), POLICY.to_owned(), digest.to_owned()];
        shadow.extend(policy.arguments());
        self.plugin(&shadow).await?;
        Ok(())
    }

    /// What was found out.
    pub(super) async fn report(&self) -> Result<Hits> {
        let report = self.plugin(&["shadow", POLICY, "--end"].map(ToOwned::to_owned)).await?;
        let ratio = |side: &str| {
            let ratio = report[side]["hit_ratio"].as_f64();
            ratio.with_context(|| format!("the report has no hit ratio of `{side}`: {report}"))
        };
        let dropped = report["requests"]["dropped"].as_u64();
        let dropped = dropped.context("the report does not say how many were dropped")?;
        Ok(Hits { deployed: ratio("deployed")?, candidate: ratio("candidate")?, dropped })
    }

    /// Runs `weir plugin`, and returns what it prints.
    async fn plugin(&self, arguments: &[String]) -> Result<Value> {
        let mut command = Command::new(&self.binary);
        command.args(["plugin", "--json", "--url", &self.url, "--token-file"]);
        command.arg(&self.token_file).args(arguments).kill_on_drop(true);
        let output = command.output().await.context("running `weir plugin`")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`weir plugin {}`: {errors}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).context("`weir plugin --json` prints JSON")
    }
}
