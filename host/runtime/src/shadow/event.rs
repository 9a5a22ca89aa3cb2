//! What the request path tells a shadow about a request that has ended: a copy of what keys are made of, and how
//! the request was answered.
//!
//! A copy shares no memory with the request, whose buffers may be much larger. It has only the headers that one of
//! the policies can see. Out of scope: what is made of it (`compare`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use weir_cache::key::KeyPrefix;
use weir_cache::reads::Dependencies;
use weir_cache::tag::Reads;
use weir_core::Commit;
use weir_core::json::CanonicalJson;
use weir_core::name::Name;
use weir_limits::charge::Charge;
use weir_limits::client::Client;

use crate::policy::Policy;
use crate::request::{PartsRead, RequestId, Source};
use crate::tenant::invalidation::Ended as EndedAnswers;
use crate::wishes::Wishes;

/// What a header takes in addition to its name and value.
const HEADER_BYTES: usize = 128;
/// What a query parameter takes in addition to its name and value.
const PARAMETER_BYTES: usize = 2 * size_of::<String>();

/// A request that has ended.
pub struct Event {
    /// When it began.
    pub began: Instant,
    /// Whose it was.
    pub tenant: Name,
    /// What has ended answers of the tenant.
    pub ended_answers: Arc<EndedAnswers>,
    /// The pipeline that it was for.
    pub pipeline: Name,
    /// What the keys of the deployment begin with.
    pub prefix: KeyPrefix,
    /// The size of the tenant's memory tier.
    pub tier: TierSize,
    /// What keys are made of.
    pub request: Copied,
    /// What the client wanted of the cache.
    pub wishes: Wishes,
    /// How it ended.
    pub ended: Ended,
    /// Its answer, if there is one.
    pub answer: Option<Answered>,
}

/// The size of a memory tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierSize {
    /// All entries.
    pub max_bytes: u64,
    /// The largest entry.
    pub max_entry_bytes: u32,
}

/// How a request ended under the deployed policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a fresh answer of the memory tier.
    Hit,
    /// With an answer of the shared tier.
    SharedHit,
    /// With an old answer.
    Stale,
    /// With the answer of another request's run.
    Collapsed,
    /// With an answer of its own.
    Ran,
    /// With an answer of its own, without asking the cache.
    Bypassed,
    /// Without an answer.
    Failed,
}

/// An answer, and what it was made from.
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The pipeline's headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The length of its body.
    pub body_bytes: u64,
    /// Of its status, content type and body.
    pub validator: u128,
    /// What it takes in a memory tier, without what that adds.
    pub weight_bytes: u32,
    /// The position that it is exact at; `None` if it has several.
    pub as_of: Option<Commit>,
    /// Why no policy could have had it stored, whatever it was made from.
    pub kept_apart: Option<&'static str>,
    /// What it was made from, if that is known.
    pub basis: Option<Basis>,
}

/// What an answer was made from.
pub struct Basis {
    /// What was read, and the tags that the deployed policy has added, if it was stored.
    pub depends_on: Dependencies,
    /// The cells of the reads' tags, and of the tags that were added if it was stored.
    pub cells: Reads,
    /// The parts of the request that were read, if that is known.
    pub parts: Option<Arc<PartsRead>>,
    /// Whether a host call was unavailable, timed out or failed.
    pub degraded: bool,
    /// How long it took to make.
    pub compute: Duration,
    /// Whether it is in an entry of the memory tier.
    pub is_entry: bool,
}

/// Which headers a shadow sees.
pub(super) enum Headers {
    All,
    Only(Vec<HeaderName>),
}

/// A copy of what keys are made of.
pub struct Copied {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: CanonicalJson,
}

impl Headers {
    /// Those that one of these policies can see: hooks see all.
    pub(super) fn of(policies: [&Policy; 2]) -> Self {
        let has_hooks = |policy: &&Policy| policy.has_keying() || policy.has_admission();
        if policies.iter().any(has_hooks) {
            return Self::All;
        }
        Self::Only(policies.iter().flat_map(|policy| policy.plan.headers()).cloned().collect())
    }

    fn seen<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        headers.iter().filter(|(name, _)| match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        })
    }
}

impl Copied {
    /// What a copy of a request would take, in bytes.
    pub(super) fn bytes(source: &Source<'_>, headers: &Headers) -> usize {
        let header = |(name, value): (&HeaderName, &HeaderValue)| {
            HEADER_BYTES + name.as_str().len() + value.len()
        };
        let parameter =
            |(name, value): &(String, String)| PARAMETER_BYTES + name.len() + value.len();
        source.body.text().len()
            + source.path.len()
            + source.query.iter().map(parameter).sum::<usize>()
            + headers.seen(source.headers).map(header).sum::<usize>()
    }

    pub(super) fn of(source: &Source<'_>, seen: &Headers) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in seen.seen(source.headers) {
            // Neither is ever refused, because each is one already.
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_str().as_bytes()),
                HeaderValue::from_bytes(value.as_bytes()),
            ) {
                headers.append(name, value);
            }
        }
        Self {
            method: source.method.clone(),
            path: source.path.to_owned(),
            query: source.query.to_vec(),
            headers,
            body: source.body.copied(),
        }
    }

    /// The request as policies see it.
    pub(super) fn source<'a>(&'a self, nobody: &'a Nobody) -> Source<'a> {
        Source {
            id: &nobody.id,
            client: Client::at([0, 0, 0, 0].into()),
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
            charge: &nobody.charge,
        }
    }
}

/// What a copied request has not: an id, and a charge to others.
pub(super) struct Nobody {
    id: RequestId,
    charge: Charge,
}

impl Default for Nobody {
    fn default() -> Self {
        Self { id: RequestId::of([0, 0]), charge: Charge::none() }
    }
}

impl Answered {
    /// What it takes while it waits, in bytes.
    pub fn bytes(&self) -> usize {
        let headers =
            self.headers.iter().map(|(name, value)| HEADER_BYTES + name.len() + value.len());
        let basis = self.basis.as_ref().map_or(0, |basis| {
            let parts = basis.parts.as_ref().map_or(0, |parts| parts.weight_bytes());
            basis.depends_on.weight_bytes() + basis.cells.len() * size_of::<usize>() + parts
        });
        headers.sum::<usize>() + basis
    }
}
