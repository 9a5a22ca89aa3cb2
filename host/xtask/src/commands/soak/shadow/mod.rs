//! `cargo xtask soak shadow`: whether a policy that is deployed has the hits that were predicted of it in shadow.
//!
//! For each of the [`candidates`], a segment of a trace is replayed twice, each time against a server with an
//! empty cache. In the first, the candidate is tried in shadow of another policy, and predicts. In the second, it is
//! deployed. [`questions`] are those of the trace, half of them in capitals, and [`report`] prints. Out of scope: what
//! else a report says, which the tests check.

mod candidates;
mod questions;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use self::candidates::{CANDIDATES, Candidate, Policy};
use crate::commands::replay::replay;
use crate::commands::replay::segment::Segment;
use crate::commands::replay::stage::{Setting, Shared, Stage};
use crate::commands::soak::experiment::administrator::Administrator;
use crate::commands::soak::experiment::bound;
use crate::interrupt::Interrupt;
use crate::workspace::Workspace;
use crate::{components, machine, set_up};

/// The policy's name in the server's configuration.
const POLICY: &str = "default";

/// Compare what is predicted of a policy in shadow with what it does
///
/// Replays a segment of a trace twice for each of five candidates: one that merges keys, one that splits them, one
/// whose answers live for a shorter time, one that refuses to store some, and one that fails for some. First, it
/// is tried in shadow, and predicts its hit ratio; then it is deployed, and has one. Both caches are empty at the
/// beginning. Prints a table.
///
/// Fails if the two differ by more than 2 points, for a candidate or for the policy that it is compared
/// with, or if a replay is void. Run nothing else at the same time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Shadow {
    /// The trace, as for `cargo xtask replay`
    trace: PathBuf,
    /// The folder with documents.jsonl, if it is not ../shared/data/cranfield
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Leave out what comes before this time of the trace
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    from: f64,
    /// Leave out what comes at this time of the trace or later
    #[arg(long, value_name = "SECONDS", default_value_t = 90.0)]
    to: f64,
    /// How many times as fast as the trace says
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Use the server and the components that were built last
    #[arg(long)]
    no_build: bool,
}

/// What was predicted, and what came of it.
struct Compared {
    candidate: &'static str,
    /// Of the policy that was deployed while the candidate was in shadow: simulated, and really.
    deployed: [f64; 2],
    /// Of the candidate: predicted, and achieved.
    hits: [f64; 2],
    dropped: u64,
}

impl Shadow {
    pub(super) async fn run(self) -> Result<()> {
        // Dropping this future stops the server.
        Interrupt::or(self.measure()).await
    }

    async fn measure(&self) -> Result<()> {
        let workspace = Workspace::find()?;
        if !self.no_build {
            components::build(&workspace, &set_up::set_up()?.wasm)?;
        }
        let folder = tempfile::tempdir()?;
        let trace = folder.path().join("trace.ndjson");
        questions::half_in_capitals(&self.trace, &trace)?;
        let segment = Segment::new(&trace, self.from, Some(self.to), self.speed)?;
        let mut all = Vec::new();
        for candidate in &CANDIDATES {
            let compared = self.compare(&workspace, candidate, &segment).await?;
            eprintln!("{}", report::line(&compared));
            all.push(compared);
        }
        println!("\n{}", report::markdown(&all, &segment.described(), &machine::description()?));
        bound::all_must_hold(&report::bounds(&all))
    }

    async fn compare(
        &self,
        workspace: &Workspace,
        candidate: &Candidate,
        segment: &Segment,
    ) -> Result<Compared> {
        let folder = workspace.components();
        let stage = self.stage(&folder, &candidate.deployed).await?;
        let administrator = Administrator::of(&stage.server)?;
        let digest = administrator.push(candidate.tried.plugin(&folder)?).await?;
        let tried = json!({ "digest": digest, "settings": candidate.tried.settings() });
        administrator.shadow(POLICY, &tried).await?;
        let really = replayed(segment, &stage).await?;
        let report = administrator.end_shadow(POLICY).await?;
        let (deployed, predicted) =
            (hit_ratio(&report, "deployed")?, hit_ratio(&report, "candidate")?);
        let dropped = report["requests"]["dropped"].as_u64();
        let dropped = dropped.context("the report does not say how many were dropped")?;
        stage.server.stop().await?;

        let stage = self.stage(&folder, &candidate.tried).await?;
        let achieved = replayed(segment, &stage).await?;
        stage.server.stop().await?;
        let (deployed, hits) = ([deployed, really], [predicted, achieved]);
        Ok(Compared { candidate: candidate.does, deployed, hits, dropped })
    }

    /// A server whose policy is this one.
    async fn stage(&self, components: &Path, policy: &Policy) -> Result<Stage> {
        let setting = Setting {
            data: self.data.clone(),
            policy: Some(policy.component(components)),
            policy_settings: policy.settings(),
            shared: Shared::None,
            no_build: self.no_build,
        };
        Stage::set(&setting, |_| {}).await
    }
}

/// What a report says of one of the two policies.
fn hit_ratio(report: &Value, side: &str) -> Result<f64> {
    let ratio = report[side]["hit_ratio"].as_f64();
    ratio.with_context(|| format!("the report has no hit ratio of `{side}`: {report}"))
}

/// Replays a segment, and returns its hit ratio.
async fn replayed(segment: &Segment, stage: &Stage) -> Result<f64> {
    let replayed = replay(segment, &stage.server, &mut Interrupt::new()?).await;
    let replayed = replayed.map_err(|error| stage.server.explain(&error))?;
    let why: Vec<_> = replayed.void.into_iter().chain(replayed.failures).collect();
    ensure!(why.is_empty(), "the replay is void or has failed: {}", why.join("; "));
    // A segment without lookups is refused by its survey.
    Ok(replayed.hit_ratio.unwrap_or_default())
}
