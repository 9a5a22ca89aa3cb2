//! Tests of plans: which ones compile, what a key covers, and what the guest sees.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::CacheKey;
use weir_cache::key::{KeyBuilder, KeyPrefix};
use weir_cache::lifetime::Lifetime as OfEntry;
use weir_core::json::{CanonicalJson, JsonLimits, canonicalize};
use weir_core::name::Name;
use weir_limits::charge::Charge;
use weir_limits::client::Client;

use super::{Plan, PlanError};
use crate::request::{RequestId, Source};

static UNCOUNTED: Charge = Charge::none();

fn part(source: wit::Source, transforms: &[wit::Transform]) -> wit::KeyPart {
    wit::KeyPart { source, transforms: transforms.to_vec() }
}

fn body() -> wit::KeyPart {
    part(wit::Source::Body, &[])
}

fn field(pointer: &str) -> wit::KeyPart {
    part(wit::Source::JsonField(pointer.to_owned()), &[])
}

fn plan(key: Vec<wit::KeyPart>) -> Result<Plan, PlanError> {
    changed(|plan| plan.key = key)
}

fn tagged(key: Vec<wit::KeyPart>, tags: Vec<String>) -> Result<Plan, PlanError> {
    changed(|plan| {
        plan.key = key;
        plan.storage.tags = tags;
    })
}

/// Compiles a plan that is valid but for what `change` does to it.
fn changed(change: impl FnOnce(&mut wit::KeyPlan)) -> Result<Plan, PlanError> {
    let memory = wit::Lifetime {
        ttl_ms: 1_000,
        jitter_percent: 0,
        refresh_after_ms: None,
        early_refresh_percent: 0,
        stale_while_revalidate_ms: None,
        stale_if_error_ms: None,
        stale_after_change_ms: None,
    };
    let storage = wit::Storage { memory: Some(memory), shared: None, tags: Vec::new() };
    let timeouts = wit::Timeouts { soft_ms: None, hard_ms: None };
    let key = vec![body()];
    let mut plan = wit::KeyPlan { key_epoch: 0, key, storage, timeouts, failure_ttl_ms: None };
    change(&mut plan);
    Plan::compile(&Name::new("its").unwrap(), plan)
}

/// Compiles a plan whose lifetime in memory is valid but for what `change` does to it.
fn with_lifetime(change: impl FnOnce(&mut wit::Lifetime)) -> Result<Plan, PlanError> {
    changed(|plan| {
        if let Some(memory) = &mut plan.storage.memory {
            change(memory);
        }
    })
}

#[test]
fn a_lifetime_has_what_the_policy_says() {
    let plan = with_lifetime(|lifetime| {
        lifetime.jitter_percent = 50;
        lifetime.refresh_after_ms = Some(999);
        lifetime.early_refresh_percent = 100;
        lifetime.stale_while_revalidate_ms = Some(1);
        lifetime.stale_if_error_ms = Some(2);
        lifetime.stale_after_change_ms = Some(3);
    });
    let memory = plan.unwrap().storage.memory.unwrap();
    let ms = Duration::from_millis;
    let key = |last| CacheKey::from_bytes([last; 32]);
    for (last, ttl_ms) in [(0, 1_000), (255, 500)] {
        let expected = OfEntry {
            ttl: ms(ttl_ms),
            refresh_after: Some(ms(999)),
            early_refresh_percent: 100,
            stale_while_revalidate: ms(1),
            stale_if_error: ms(2),
            stale_after_change: ms(3),
        };
        assert_eq!(memory.of(&key(last)), expected, "{last}");
    }
}

#[test]
fn times_are_within_their_limits() {
    const YEAR_MS: u64 = 31_536_000_000;
    let refused = |plan: Result<Plan, PlanError>, name: &str| {
        let error = plan.unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    };
    for ttl_ms in [0, YEAR_MS + 1, u64::MAX] {
        refused(with_lifetime(|lifetime| lifetime.ttl_ms = ttl_ms), "ttl-ms");
    }
    refused(with_lifetime(|lifetime| lifetime.jitter_percent = 101), "jitter-percent");
    for after in [1_000, u64::MAX] {
        refused(with_lifetime(|lifetime| lifetime.refresh_after_ms = Some(after)), "refresh-after");
    }
    let most = Some(YEAR_MS);
    assert!(with_lifetime(|lifetime| lifetime.stale_if_error_ms = most).is_ok());
    for too_long in [YEAR_MS + 1, u64::MAX] {
        let too_long = Some(too_long);
        let revalidate = |lifetime: &mut wit::Lifetime| {
            lifetime.stale_while_revalidate_ms = too_long;
        };
        refused(with_lifetime(revalidate), "stale-while-revalidate-ms");
        let error = with_lifetime(|lifetime| lifetime.stale_if_error_ms = too_long);
        refused(error, "stale-if-error-ms");
        let change = with_lifetime(|lifetime| lifetime.stale_after_change_ms = too_long);
        refused(change, "stale-after-change-ms");
        refused(changed(|plan| plan.failure_ttl_ms = too_long), "failure-ttl-ms");
    }
    for wait in [Some(0), Some(u64::MAX)] {
        refused(changed(|plan| plan.timeouts.soft_ms = wait), "soft-ms");
        refused(changed(|plan| plan.timeouts.hard_ms = wait), "hard-ms");
    }
}

struct Asked {
    id: RequestId,
    body: CanonicalJson,
    headers: HeaderMap,
    query: Vec<(String, String)>,
}

impl Asked {
    fn new(body: &'static str) -> Self {
        let body = canonicalize(body, JsonLimits::default()).unwrap();
        Self { id: RequestId::of([0, 0]), body, headers: HeaderMap::new(), query: Vec::new() }
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.append(name, HeaderValue::from_static(value));
        self
    }

    fn source(&self) -> Source<'_> {
        Source {
            id: &self.id,
            client: Client::at(Ipv4Addr::LOCALHOST.into()),
            method: &Method::POST,
            path: "/v1/pipelines/p",
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
            charge: &UNCOUNTED,
        }
    }

    fn key(&self, plan: &Plan) -> CacheKey {
        let mut key = KeyBuilder::new(&KeyPrefix::new(&[]));
        plan.hash(&self.source(), &mut key);
        key.finish()
    }

    fn body_seen(&self, plan: &Plan) -> String {
        String::from_utf8(plan.request(&self.source()).body.to_vec()).unwrap()
    }
}

#[test]
fn an_answer_has_a_bounded_number_of_tags() {
    let tags = |count: usize| (0..count).map(|number| number.to_string()).collect();
    assert!(tagged(vec![body()], tags(64)).is_ok());
    assert_eq!(tagged(vec![body()], tags(65)).unwrap_err(), PlanError::TooManyTags(65));
}

#[test]
fn plans_that_cannot_be_are_refused() {
    let name = |text: &str| text.to_owned();
    let cases = [
        (vec![], PlanError::Empty),
        (vec![field("query")], PlanError::Pointer(name("query"))),
        (vec![field("/a/0")], PlanError::Pointer(name("/a/0"))),
        (vec![field("/a~2")], PlanError::Pointer(name("/a~2"))),
        (vec![field("/a"), field("/a/b")], PlanError::Overlap(name("/a/b"))),
        (vec![field("/a"), field("/a")], PlanError::Overlap(name("/a"))),
        (vec![body(), field("/a")], PlanError::Overlap(name("/a"))),
        (vec![part(wit::Source::Body, &[wit::Transform::Trim])], PlanError::BodyTransform),
        (
            vec![part(wit::Source::Header(name("no header")), &[])],
            PlanError::Header(name("no header")),
        ),
        (vec![body(); 33], PlanError::TooManyParts(33)),
        (
            vec![part(wit::Source::Header(name("a")), &[wit::Transform::Trim; 9])],
            PlanError::TooManyTransforms(9),
        ),
    ];
    for (key, expected) in cases {
        assert_eq!(plan(key.clone()).unwrap_err(), expected, "{key:?}");
    }
}

#[test]
fn a_key_of_fields_shows_the_guest_those_fields_only() {
    let plan = plan(vec![field("/query"), field("/page/limit")]).unwrap();
    let asked = Asked::new(r#"{"query":"q","page":{"limit":1,"other":2},"secret":true}"#);
    assert_eq!(asked.body_seen(&plan), r#"{"page":{"limit":1},"query":"q"}"#);
    let same = Asked::new(r#"{"query":"q","page":{"limit":1},"secret":false}"#);
    assert_eq!(asked.key(&plan), same.key(&plan));
    assert!(plan.coverage.body);
}

#[test]
fn absent_null_and_empty_are_three_keys() {
    let plan = plan(vec![field("/a")]).unwrap();
    let keys = [r"{}", r#"{"a":null}"#, r#"{"a":""}"#].map(|body| Asked::new(body).key(&plan));
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
}

#[test]
fn what_a_transform_merges_the_guest_sees_merged() {
    let query = wit::Source::JsonField("/query".to_owned());
    let language = wit::Source::Header("accept-language".to_owned());
    let transforms = [wit::Transform::Trim, wit::Transform::Lowercase];
    let plan = plan(vec![part(query, &transforms), part(language, &transforms)]).unwrap();
    let loud = Asked::new(r#"{"query":" RUST "}"#).header("accept-language", "EN");
    let quiet = Asked::new(r#"{"query":"rust"}"#).header("accept-language", "en");
    assert_eq!(loud.key(&plan), quiet.key(&plan));
    assert_eq!(loud.body_seen(&plan), quiet.body_seen(&plan));
    assert_eq!(plan.request(&loud.source()).headers["accept-language"], "en");
}

#[test]
fn only_the_first_value_of_a_header_in_the_key_is_seen() {
    let plan = plan(vec![part(wit::Source::Header("x-a".to_owned()), &[])]).unwrap();
    let asked = Asked::new("{}").header("x-a", "1").header("x-a", "2");
    let seen = plan.request(&asked.source()).headers;
    assert_eq!(seen.get_all("x-a").iter().collect::<Vec<_>>(), ["1"]);
}
