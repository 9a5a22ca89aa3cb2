//! Decisions apart from requests, of a policy that is tried in shadow: on the thread of whoever asks, in places of
//! the pool that no request uses ([`MAX_DECISIONS_APART`]), and measured. A failure is returned and not counted
//! as one of the policy that is deployed.
//!
//! Out of scope: what follows from a decision (`shadow`).

use std::time::{Duration, Instant};

use wasmtime::Trap;

use super::component::{Admission, Keying, Outcome, Policy, RequestView};
use super::error::{PolicyError, failed};
use super::sandbox::Sandbox;

pub use crate::engine::MAX_DECISIONS_APART;

/// A decision, and what it cost.
#[derive(Debug)]
pub struct Apart<T> {
    /// What was decided.
    pub decided: Result<T, FailedApart>,
    /// How long it took.
    pub took: Duration,
    /// The fuel that it took.
    pub fuel: u64,
}

/// Why nothing was decided.
#[derive(Debug)]
pub struct FailedApart {
    /// In a word.
    pub kind: &'static str,
    /// In full.
    pub error: PolicyError,
}

impl Policy {
    /// Asks `keying`; `None` if the component does not export it.
    pub async fn key_apart(&self, RequestView(view): &RequestView) -> Option<Apart<Keying>> {
        let indices = self.keying.clone()?;
        let began = Instant::now();
        let (decision, fuel) = self
            .sandbox
            .decide_measured(Sandbox::budget_apart(), async |store, instance| {
                indices.load(&mut *store, instance)?.call_key(store, view).await
            })
            .await;
        Some(self.apart(began, fuel, decision, Self::keyed))
    }

    /// Asks `admission`; `None` if the component does not export it.
    pub async fn admit_apart(
        &self,
        RequestView(view): &RequestView,
        outcome: &Outcome,
    ) -> Option<Apart<Admission>> {
        let indices = self.admission.clone()?;
        let (began, outcome) = (Instant::now(), outcome.to_wit());
        let (decision, fuel) = self
            .sandbox
            .decide_measured(Sandbox::budget_apart(), async |store, instance| {
                indices.load(&mut *store, instance)?.call_admit(store, view, &outcome).await
            })
            .await;
        Some(self.apart(began, fuel, decision, Self::admitted))
    }

    fn apart<W, T>(
        &self,
        began: Instant,
        fuel: u64,
        decision: wasmtime::Result<W>,
        read: impl FnOnce(&Self, Result<W, PolicyError>) -> Result<T, PolicyError>,
    ) -> Apart<T> {
        let decided = match decision {
            Ok(decision) => {
                let failed = |error| FailedApart { kind: "invalid-decision", error };
                read(self, Ok(decision)).map_err(failed)
            }
            Err(error) => {
                Err(FailedApart { kind: kind(&error), error: failed(&self.name, &error) })
            }
        };
        Apart { decided, took: began.elapsed(), fuel }
    }

    /// The hooks that the component exports.
    #[must_use]
    pub fn hooks(&self) -> Vec<&'static str> {
        let exported = [
            ("keying", self.keying.is_some()),
            ("admission", self.admission.is_some()),
            ("failures", self.failures.is_some()),
            ("changes", self.changes.is_some()),
        ];
        exported.into_iter().filter_map(|(hook, is)| is.then_some(hook)).collect()
    }
}

fn kind(error: &wasmtime::Error) -> &'static str {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => "out-of-fuel",
        Some(_) => "trapped",
        None => "failed",
    }
}
