//! What a policy decides apart from requests, so that tests can have policies without a component.

use std::sync::Arc;

use weir_core::name::Name;

use crate::policy::apart::Apart;
use crate::policy::component::{Outcome, RequestView};
use crate::policy::{Admission, Keying, Plan, Policy};
use crate::request::Source;

/// A policy.
pub(super) trait Decides {
    fn plan(&self) -> &Plan;

    /// What its hooks see of a request.
    fn view(&self, tenant: &Name, pipeline: &Name, source: &Source<'_>) -> RequestView {
        RequestView::of(self.plan(), tenant, pipeline, source)
    }

    /// What `keying` says; `None` if the plan alone decides.
    async fn key(&self, view: impl FnOnce() -> RequestView) -> Option<Apart<Keying>>;

    /// What `admission` says; `None` if the plan alone decides.
    async fn admit(
        &self,
        view: impl FnOnce() -> RequestView,
        outcome: impl FnOnce() -> Outcome,
    ) -> Option<Apart<Admission>>;
}

impl Decides for Arc<Policy> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn key(&self, view: impl FnOnce() -> RequestView) -> Option<Apart<Keying>> {
        if self.has_keying() { self.key_apart(&view()).await } else { None }
    }

    async fn admit(
        &self,
        view: impl FnOnce() -> RequestView,
        outcome: impl FnOnce() -> Outcome,
    ) -> Option<Apart<Admission>> {
        if self.has_admission() { self.admit_apart(&view(), &outcome()).await } else { None }
    }
}
