//! Runs for one request only, which are neither stored nor shared.
//!
//! Out of scope: when a request runs alone (`answers`).

use std::sync::Arc;

use super::made::{Made, Origin};
use super::{Answers, Bypass, Failed, NotStored, Served, Via, failures};
use crate::deploy::Deployment;
use crate::request::Source;
use crate::tenant::reading::{Demand, Stated};

impl Answers {
    /// Runs the pipeline without asking the cache, for this reason.
    pub(super) async fn bypass(
        &self,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
        reason: Bypass,
    ) -> Result<Served, Failed> {
        let served = self.run_alone(deployment, source, demand, Via::Bypass(reason)).await;
        match &served {
            Ok(_) => deployment.tally.bypassed(reason.as_str()),
            Err(failed) => deployment.tally.failed(failed.reason()),
        }
        served
    }

    /// Runs the pipeline for this request only, for the reason in `via`.
    pub(super) async fn run_alone(
        &self,
        deployment: &Arc<Deployment>,
        source: &Source<'_>,
        demand: Demand,
        via: Via,
    ) -> Result<Served, Failed> {
        let request = match &deployment.policy {
            Some(policy) if !deployment.pipeline().writes => policy.plan.request(source),
            _ => source.request(),
        };
        let run = deployment.runner.run(Arc::new(request), demand).await;
        let (answer, _) = match run.made() {
            Ok(made) => made,
            Err(error) => {
                let failure = failures::of_run_alone(deployment, source, &run, error).await;
                return Err(run.failed(failure));
            }
        };
        let via = match (&run.stated, via) {
            (Stated::Split(_), Via::NotStored(_)) => Via::NotStored(NotStored::Split),
            (_, via) => via,
        };
        let tags = &deployment.tenant().ended.tags;
        let made = deployment
            .shadowing
            .is_on()
            .then(|| Made::of(&run, |reads| tags.resolve_coarsely(&reads.tags())));
        let origin = made.flatten().map_or(Origin::Unknown, Origin::Made);
        Ok(Served { origin, ..run.served(answer, via) })
    }
}
