//! Refreshes: answers that are made again in the background, before or after they have become old.
//!
//! A refresh is a flight that nobody follows at first. It takes one of the runs that a pipeline may have
//! without anybody waiting for them; if all are in use, the answer is not refreshed this time. Out of
//! scope: when an answer is due (`weir_cache::lifetime`), and when an old one is served (`stale`).

use std::sync::Arc;

use weir_cache::single_flight::Flight;

use super::flight::{Attended, Shared};
use super::{Answers, Question};
use crate::tenant::reading::Demand;

impl Answers {
    /// Has a new answer made in the background, unless that is being done, or was tried in vain a
    /// moment ago.
    pub(super) fn refresh(self: &Arc<Self>, question: Question<'_>, shared: Shared) {
        if self.refreshed_in_vain.contains(&question.key) {
            return;
        }
        let unattended = Arc::clone(&question.deployment.runner.unattended);
        let Ok(_run) = unattended.try_acquire_owned() else { return };
        let Flight::Lead(leader) = self.flights.join(question.key) else { return };
        // A client's demand is its own.
        let demand = Demand { patience: question.demand.patience, ..Demand::default() };
        let question = Question { demand, ..question };
        let flight = self.departing(leader, question, Attended::ByNobody { _run }, shared);
        drop(self.detached.spawn(flight.fly()));
    }
}

/// A number in (0, 1].
pub(super) fn random() -> f64 {
    1.0 - rand::random::<f64>()
}
