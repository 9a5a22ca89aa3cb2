//! Policies without components, and requests that are made by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method};
use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::key::KeyPrefix;
use weir_cache::reads::{Dependencies, Read, ReadSet};
use weir_cache::tag::TagTable;
use weir_core::json::{JsonLimits, canonicalize};
use weir_core::name::Name;
use weir_core::{Commit, Position};
use weir_limits::charge::Charge;
use weir_limits::client::Client;
use weir_store::{Invalidations, LastChanges};

use super::super::*;
use crate::policy::apart::{Apart, FailedApart};
use crate::policy::component::{Outcome, RequestView};
use crate::policy::{Admission, Keying, Plan};
use crate::request::{PartsRead, RequestId, Source};
use crate::shadow::event::{Answered as Answer, Basis, Copied, Headers, TierSize};
use crate::tenant::invalidation::Ended as EndedAnswers;
use crate::wishes::Wishes;

/// What the hook `admission` says of an answer.
pub(super) type Admits = fn(&Outcome) -> Result<Admission, FailedApart>;

/// A policy by its plan and what its hooks say.
pub(super) struct Fake {
    pub(super) plan: Plan,
    pub(super) keying: Option<fn() -> Result<Keying, FailedApart>>,
    pub(super) admission: Option<Admits>,
}

impl Decides for Fake {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn key(&self, _view: impl FnOnce() -> RequestView) -> Option<Apart<Keying>> {
        let decide = self.keying?;
        Some(Apart { decided: decide(), took: Duration::from_micros(30), fuel: 1_000 })
    }

    async fn admit(
        &self,
        _view: impl FnOnce() -> RequestView,
        outcome: impl FnOnce() -> Outcome,
    ) -> Option<Apart<Admission>> {
        let decide = self.admission?;
        let decided = decide(&outcome());
        Some(Apart { decided, took: Duration::from_micros(50), fuel: 2_000 })
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn storage(ttl_ms: u64, tags: &[&str]) -> wit::Storage {
    let memory = wit::Lifetime {
        ttl_ms,
        jitter_percent: 0,
        refresh_after_ms: None,
        early_refresh_percent: 0,
        stale_while_revalidate_ms: None,
        stale_if_error_ms: None,
        stale_after_change_ms: None,
    };
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    wit::Storage { memory: Some(memory), shared: None, tags }
}

/// A policy whose key is made of these parts.
pub(super) fn policy(key: Vec<wit::Source>, storage: wit::Storage) -> Fake {
    let part = |source| wit::KeyPart { source, transforms: vec![] };
    let plan = wit::KeyPlan {
        key_epoch: 0,
        key: key.into_iter().map(part).collect(),
        storage,
        timeouts: wit::Timeouts { soft_ms: None, hard_ms: None },
        failure_ttl_ms: None,
    };
    let plan = Plan::compile(&name("default"), plan).unwrap();
    Fake { plan, keying: None, admission: None }
}

/// A policy whose key is the body, for a minute.
pub(super) fn by_body() -> Fake {
    policy(vec![wit::Source::Body], storage(60_000, &[]))
}

pub(super) fn field(pointer: &str) -> wit::Source {
    wit::Source::JsonField(pointer.to_owned())
}

/// A server whose requests are answered by their body, at position 1, from the collection `books`.
pub(super) struct World {
    began: Instant,
    ended: Arc<EndedAnswers>,
    comparison: Comparison<Fake>,
}

/// A request, which is otherwise as by default.
pub(super) struct Asked {
    pub(super) body: &'static str,
    pub(super) flavour: Option<&'static str>,
    pub(super) after: Duration,
    pub(super) answer: Option<u128>,
    pub(super) at: u64,
    pub(super) compute: Duration,
    pub(super) ended: Ended,
    pub(super) parts: Option<PartsRead>,
    pub(super) kept_apart: Option<&'static str>,
    pub(super) wishes: Wishes,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            body: r#"{"q":"a"}"#,
            flavour: None,
            after: Duration::ZERO,
            answer: Some(1),
            at: 1,
            compute: Duration::ZERO,
            ended: Ended::Ran,
            parts: Some(PartsRead { body: true, ..PartsRead::default() }),
            kept_apart: None,
            wishes: Wishes::default(),
        }
    }
}

impl World {
    pub(super) fn new(deployed: Fake, candidate: Fake) -> Self {
        let ended = EndedAnswers::at_start(100, &nothing_changed());
        let comparison = Comparison::new(deployed, candidate);
        Self { began: Instant::now(), ended: Arc::new(ended), comparison }
    }

    pub(super) fn tags(&self) -> &TagTable {
        &self.ended.tags
    }

    pub(super) async fn ask(&mut self, asked: Asked) {
        let event = self.event(asked);
        self.comparison.take(&event).await;
    }

    fn event(&self, asked: Asked) -> Event {
        let reads = ReadSet::from_iter([Read::Collection(name("books"))]);
        let answer = asked.answer.map(|validator| Answer {
            status: 200,
            headers: Vec::new(),
            body_bytes: 10,
            validator,
            weight_bytes: 100,
            as_of: Some(Commit { position: Position(asked.at), ..Commit::ZERO }),
            kept_apart: asked.kept_apart,
            basis: Some(Basis {
                cells: self.tags().resolve(&reads.tags()),
                depends_on: Dependencies::new(reads, Vec::new()),
                parts: asked.parts.map(Arc::new),
                degraded: false,
                compute: asked.compute,
                is_entry: false,
            }),
        });
        Event {
            began: self.began + asked.after,
            tenant: name("acme"),
            ended_answers: Arc::clone(&self.ended),
            pipeline: name("search"),
            prefix: KeyPrefix::new(&["acme", "search"]),
            tier: TierSize { max_bytes: 1 << 20, max_entry_bytes: 1 << 16 },
            request: copied(asked.body, asked.flavour),
            wishes: asked.wishes,
            ended: asked.ended,
            answer,
        }
    }

    pub(super) fn report(&self) -> Report {
        self.comparison.report(About {
            since_unix_ms: 0,
            lasted: Duration::ZERO,
            ended: None,
            requests: self.comparison.seen,
            dropped: 0,
            waiting: 0,
            not_asked: Vec::new(),
        })
    }
}

fn nothing_changed() -> LastChanges {
    let invalidations = Invalidations { before: Position::ZERO, kept: Vec::new() };
    LastChanges { collections: Vec::new(), others: Position::ZERO, invalidations }
}

fn copied(body: &str, flavour: Option<&'static str>) -> Copied {
    let limits = JsonLimits { max_bytes: 1_000, max_depth: 4 };
    let (id, charge, body) =
        (RequestId::of([1, 2]), Charge::none(), canonicalize(body, limits).unwrap());
    let mut headers = HeaderMap::new();
    if let Some(flavour) = flavour {
        headers.insert("x-flavour", HeaderValue::from_static(flavour));
    }
    let source = Source {
        id: &id,
        client: Client::at([127, 0, 0, 1].into()),
        method: &Method::POST,
        path: "/v1/pipelines/search",
        query: &[],
        headers: &headers,
        body: &body,
        charge: &charge,
    };
    Copied::of(&source, &Headers::All)
}

pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Hits and lookups of the deployed policy, and of the candidate.
pub(super) fn hits(report: &Report) -> [(u64, u64); 2] {
    [&report.deployed, &report.candidate].map(|side| (side.hits, side.lookups))
}
