//! A policy's component. Its exports are checked once, when it is loaded. Each decision runs in a
//! fresh instance without imports and is bounded by fuel, so the same input gives the same
//! decision on every node.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Builder;
use wasmtime::component::{Component, InstancePre};
use weir_bindings::policy::exports::weir::policy::{
    admission, changes, failures, keying, planning,
};
use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::reads::{Read, ReadSet};
use weir_core::name::Name;

use super::config;
use super::error::{PLANNING, PolicyError, failed};
use super::plan::{Longest, Plan, Storage};
use super::sandbox::Sandbox;
use crate::engine::compile::{CodeCache, compile_here};
use crate::engine::component::{WIT_VERSION, check_export, import_names, read_component};
use crate::engine::config::Engine;
use crate::engine::guests::PipelineGuests;
use crate::engine::kind::Kind;
use crate::engine::memory::MemoryBudget;
use crate::engine::slots::NoSlot;
use crate::request::Source;

/// The most key parts that `keying` may return.
const MAX_KEY_PARTS: usize = 64;

/// A policy in service.
pub struct Policy {
    /// The name that pipelines refer to it by.
    pub name: Name,
    /// Hex sha-256 of the component.
    pub digest: String,
    /// Digest of the settings that its plan was made with.
    pub settings_digest: String,
    /// The part that runs without the component.
    pub plan: Plan,
    pub(super) sandbox: Sandbox,
    pub(super) keying: Option<keying::GuestIndices>,
    pub(super) admission: Option<admission::GuestIndices>,
    pub(super) failures: Option<failures::GuestIndices>,
    pub(super) changes: Option<changes::GuestIndices>,
}

/// A policy's decision about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keying {
    /// Parts of the key in addition to those of the plan.
    Parts(Vec<String>),
    /// Neither look up nor store the answer, for this reason.
    Bypass(String),
}

/// A policy's decision about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Store it.
    Store(Storage),
    /// Do not store it, for this reason.
    DoNotStore(String),
}

impl Admission {
    /// What a plan alone decides about an answer with this status.
    #[must_use]
    pub fn by_plan(plan: &Plan, status: u16) -> Self {
        match status {
            200 => Self::Store(plan.storage.clone()),
            _ => Self::DoNotStore(format!("status {status}")),
        }
    }
}

/// An answer as a policy sees it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The status.
    pub status: u16,
    /// The pipeline's headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body's length.
    pub body_bytes: u64,
    /// How long the pipeline took.
    pub compute: Duration,
    /// What it was made from.
    pub reads: ReadSet,
}

impl Policy {
    /// Loads and compiles the component of `[policies.NAME]` and asks it for its plan. Its code is looked up
    /// and kept in `code`, if there is one.
    ///
    /// # Errors
    /// The file, its world, its imports, its settings or its plan is invalid.
    pub fn load(
        engine: &wasmtime::Engine,
        name: Name,
        policy: &config::Policy,
        limits: &Engine,
        code: Option<&CodeCache>,
    ) -> Result<Self, PolicyError> {
        let path = &policy.component;
        let bytes = read_component(path, limits.max_component_bytes)?;
        let component = compile_here(code, Kind::Policies, engine, path, &bytes)?;
        let digest = hex::encode(Sha256::digest(&bytes));
        Self::of_component(engine, name, policy, limits, &component, digest)
    }

    /// Checks a component that is compiled for policies, and asks it for its plan. `digest` is the hex sha-256
    /// of its bytes; the path of `policy` is for errors.
    ///
    /// # Errors
    /// Its world, its imports, its settings or its plan is invalid.
    pub fn of_component(
        engine: &wasmtime::Engine,
        name: Name,
        policy: &config::Policy,
        limits: &Engine,
        component: &Component,
        digest: String,
    ) -> Result<Self, PolicyError> {
        let path = &policy.component;
        check_export(engine, path, component, &[PLANNING])?;
        let imports = import_names(engine, component);
        let functions: Vec<_> = imports.into_iter().filter(|name| !is_types(name)).collect();
        if !functions.is_empty() {
            return Err(PolicyError::Imports { path: path.clone(), imports: functions.join(", ") });
        }
        let sandbox = Sandbox::new(engine, component, limits.policy_fuel)
            .map_err(|error| failed(&name, &error))?;
        let settings = policy.settings.pairs();
        let plan = plan(&sandbox, &name, &settings)?;
        let settings = serde_json::to_vec(&settings)
            .map_err(|error| failed(&name, &wasmtime::Error::from(error)))?;
        let hooks = Exported { component, name: &name, sandbox: &sandbox };
        Ok(Self {
            digest,
            settings_digest: hex::encode(Sha256::digest(&settings)),
            keying: hooks.get("keying", keying::GuestIndices::new)?,
            admission: hooks.get("admission", admission::GuestIndices::new)?,
            failures: hooks.get("failures", failures::GuestIndices::new)?,
            changes: hooks.get("changes", changes::GuestIndices::new)?,
            name,
            plan,
            sandbox,
        })
    }

    /// Whether computing a key runs the component.
    #[must_use]
    pub fn has_keying(&self) -> bool {
        self.keying.is_some()
    }

    /// Whether the component decides if an answer is stored.
    #[must_use]
    pub fn has_admission(&self) -> bool {
        self.admission.is_some()
    }

    /// What decides which answers it finds: those that it has stored, and those of a policy with the same plan
    /// before it. Where its component decides too, they are its own.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let plan = self.plan.fingerprint();
        match self.has_hooks() {
            true => format!("{plan} {} {}", self.digest, self.settings_digest),
            false => plan,
        }
    }

    /// The longest that answers live that it finds. Those that its component has admitted live for as long as
    /// it has said.
    #[must_use]
    pub fn longest(&self) -> Longest {
        if self.has_hooks() { Longest::UNLIMITED } else { self.plan.longest() }
    }

    fn has_hooks(&self) -> bool {
        let Self { keying, admission, failures, changes, .. } = self;
        keying.is_some() || admission.is_some() || failures.is_some() || changes.is_some()
    }

    /// A request as the policy's hooks see it.
    #[must_use]
    pub fn view(&self, tenant: &Name, pipeline: &Name, source: &Source<'_>) -> RequestView {
        RequestView::of(&self.plan, tenant, pipeline, source)
    }

    /// Asks `keying`, in one of the pipeline's slots for decisions. Its parts are added to those of
    /// the plan and never replace them: a policy can separate requests that share a key under the
    /// plan, but cannot merge others.
    ///
    /// # Errors
    /// No slot became free in time. The inner error means that the policy failed: the request
    /// bypasses the cache.
    pub async fn key(
        self: &Arc<Self>,
        guests: &PipelineGuests,
        RequestView(view): RequestView,
    ) -> Result<Result<Keying, PolicyError>, NoSlot> {
        let Some(indices) = self.keying.clone() else {
            return Ok(Ok(Keying::Parts(Vec::new())));
        };
        let (policy, budget) = (Arc::clone(self), Sandbox::budget(guests));
        let decision = || async move {
            let decision = policy.sandbox.decide(budget, async |store, instance| {
                indices.load(&mut *store, instance)?.call_key(store, &view).await
            });
            policy.keyed(decision.await.map_err(|error| policy.has_failed(&error)))
        };
        Ok(guests.decide(decision).await?.ended().await.unwrap_or_else(|| Err(self.panicked())))
    }

    pub(super) fn keyed(
        &self,
        decision: Result<keying::Decision, PolicyError>,
    ) -> Result<Keying, PolicyError> {
        match decision? {
            keying::Decision::Lookup(parts) if parts.len() > MAX_KEY_PARTS => {
                let reason = format!(
                    "`keying` returned {} parts; at most {MAX_KEY_PARTS} are allowed",
                    parts.len()
                );
                Err(PolicyError::Failed { name: self.name.clone(), reason })
            }
            keying::Decision::Lookup(parts) => Ok(Keying::Parts(parts)),
            keying::Decision::Bypass(reason) => Ok(Keying::Bypass(reason)),
        }
    }

    /// Asks `admission`, in one of the pipeline's slots for decisions. Without it, the plan's storage
    /// applies to every answer with status 200.
    ///
    /// # Errors
    /// No slot became free in time, or, the inner error, the policy failed: the answer is not stored.
    pub async fn admit(
        self: &Arc<Self>,
        guests: &PipelineGuests,
        RequestView(view): RequestView,
        outcome: Outcome,
    ) -> Result<Result<Admission, PolicyError>, NoSlot> {
        let Some(indices) = self.admission.clone() else {
            return Ok(Ok(Admission::by_plan(&self.plan, outcome.status)));
        };
        let (policy, budget) = (Arc::clone(self), Sandbox::budget(guests));
        let decision = || async move {
            let outcome = outcome.to_wit();
            let decision = policy.sandbox.decide(budget, async |store, instance| {
                indices.load(&mut *store, instance)?.call_admit(store, &view, &outcome).await
            });
            policy.admitted(decision.await.map_err(|error| policy.has_failed(&error)))
        };
        Ok(guests.decide(decision).await?.ended().await.unwrap_or_else(|| Err(self.panicked())))
    }

    pub(super) fn admitted(
        &self,
        decision: Result<admission::Decision, PolicyError>,
    ) -> Result<Admission, PolicyError> {
        match decision? {
            admission::Decision::Store(storage) => Storage::compile(&self.name, storage)
                .map(Admission::Store)
                .map_err(|error| PolicyError::Plan { name: self.name.clone(), error }),
            admission::Decision::DoNotStore(reason) => Ok(Admission::DoNotStore(reason)),
        }
    }

    pub(super) fn has_failed(&self, error: &wasmtime::Error) -> PolicyError {
        counter!("weir_policy_failures_total", "policy" => self.name.to_string()).increment(1);
        failed(&self.name, error)
    }

    pub(super) fn panicked(&self) -> PolicyError {
        let reason = "the host failed while running it".to_owned();
        PolicyError::Failed { name: self.name.clone(), reason }
    }
}

/// A request as the hooks of a policy see it.
#[derive(Clone, Debug)]
pub struct RequestView(pub(super) wit::RequestView);

impl RequestView {
    /// A request as the hooks of a policy with this plan see it.
    #[must_use]
    pub fn of(plan: &Plan, tenant: &Name, pipeline: &Name, source: &Source<'_>) -> Self {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), value.as_bytes().to_vec())
        };
        Self(wit::RequestView {
            tenant: tenant.as_str().to_owned(),
            pipeline: pipeline.as_str().to_owned(),
            path: source.path.to_owned(),
            query: source.query.to_vec(),
            headers: source.headers.iter().map(header).collect(),
            fields: plan.fields(source),
        })
    }
}

impl Outcome {
    pub(super) fn to_wit(&self) -> wit::Outcome {
        wit::Outcome {
            status: self.status,
            headers: self.headers.clone(),
            body_bytes: Some(self.body_bytes),
            compute_ms: u32::try_from(self.compute.as_millis()).unwrap_or(u32::MAX),
            reads: reads(&self.reads),
        }
    }
}

/// What was read, as a policy sees it.
pub(super) fn reads(reads: &ReadSet) -> Vec<wit::Read> {
    reads.iter().filter_map(read).collect()
}

/// `None` if the policy learns nothing from it.
fn read(read: &Read) -> Option<wit::Read> {
    let text = |text: &str| text.to_owned();
    Some(match read {
        Read::Collection(name) => wit::Read::Search(text(name.as_str())),
        Read::Document(collection, id) => wit::Read::Document(wit::DocumentRead {
            collection: text(collection.as_str()),
            id: text(id.as_str()),
        }),
        Read::Table(database, table) => wit::Read::Table(wit::TableRead {
            database: text(database.as_str()),
            table: text(table.as_str()),
        }),
        Read::BucketKey(bucket, key) => wit::Read::BucketKey(wit::BucketRead {
            bucket: text(bucket.as_str()),
            key: text(key.as_str()),
        }),
        Read::Origin(origin) => wit::Read::Origin(text(origin.as_str())),
        Read::Fragment(key) => wit::Read::Fragment(key.parts().map(text).collect()),
        Read::Clock => wit::Read::Clock,
        // Is read with documents, which name the collection.
        Read::Lifetime(_) => return None,
    })
}

/// Asks the component for its plan, which is done once, when it is loaded.
fn plan(
    sandbox: &Sandbox,
    name: &Name,
    settings: &[(String, String)],
) -> Result<Plan, PolicyError> {
    let indices =
        planning::GuestIndices::new(&sandbox.pre).map_err(|error| failed(name, &error))?;
    let asked = sandbox.decide(Sandbox::budget_apart(), async |store, instance| {
        indices.load(&mut *store, instance)?.call_plan(store, settings).await
    });
    // Components are loaded on threads that may block.
    let runtime = Builder::new_current_thread().enable_time().build();
    let plan = runtime
        .map_err(wasmtime::Error::from)
        .and_then(|runtime| runtime.block_on(asked))
        .map_err(|error| failed(name, &error))?
        .map_err(|reason| PolicyError::Refused { name: name.clone(), reason })?;
    Plan::compile(name, plan).map_err(|error| PolicyError::Plan { name: name.clone(), error })
}

fn is_types(import: &str) -> bool {
    import.starts_with("weir:policy/types@")
}

/// The hooks that a component exports.
struct Exported<'a> {
    component: &'a Component,
    name: &'a Name,
    sandbox: &'a Sandbox,
}

impl Exported<'_> {
    fn get<T>(
        &self,
        hook: &str,
        indices: impl FnOnce(&InstancePre<MemoryBudget>) -> wasmtime::Result<T>,
    ) -> Result<Option<T>, PolicyError> {
        let interface = format!("weir:policy/{hook}@{WIT_VERSION}");
        let is_exported = self.component.get_export_index(None, interface).is_some();
        is_exported
            .then(|| indices(&self.sandbox.pre))
            .transpose()
            .map_err(|error| failed(self.name, &error))
    }
}
