//! The request path of pipelines: turns a request into a source of keys, and an answer into a
//! response. Out of scope: what happens in between ([`weir_runtime::answers`]).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;
use weir_core::json::{CanonicalJson, JsonLimits, canonicalize};
use weir_core::name::Name;
use weir_limits::charge::Charge;
use weir_limits::client::Client;
use weir_runtime::answers::{Failed, Kept, Served, Stale, Via};
use weir_runtime::deploy::Deployment;
use weir_runtime::pipeline::RunError;
use weir_runtime::request::{RequestId, Source};
use weir_runtime::wishes::{Freshness, Wishes};

use super::app::App;
use super::body::{ChargedBody, RequestBody};
use super::cache_control;
use super::json::{self, MAX_DEPTH};
use super::position;
use super::problem::{Problem, codes};
use super::respond;
use super::router;
use crate::identity::Member;

const REVISION: HeaderName = HeaderName::from_static("weir-revision");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The query parameter that carries the JSON of a GET.
const JSON_PARAMETER: &str = "json";
/// How long a client should wait before it tries again when all guest slots are busy, or a
/// position is not reached.
const RETRY_AFTER_SECONDS: u32 = 1;

/// Where a request comes from.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// Who sent it.
    pub(super) client: Client,
    /// Its id.
    pub(super) id: &'a RequestId,
}

/// Answers a request of the tenant to `pipeline`.
pub(super) async fn run(
    app: &App,
    member: &Member,
    pipeline: &Name,
    head: &Parts,
    body: RequestBody,
    caller: Caller<'_>,
) -> Response {
    if !matches!(head.method, Method::GET | Method::HEAD | Method::POST | Method::QUERY) {
        return allowing(&head.method, "GET, HEAD, POST, QUERY");
    }
    let Some(deployment) = app.deployments.get(&member.tenant.name, pipeline) else {
        let detail = format!("There is no pipeline '{pipeline}'; GET /v1/pipelines lists them.");
        return Problem::new(codes::UNKNOWN_PIPELINE, detail).into_response();
    };
    if deployment.pipeline().writes && head.method != Method::POST {
        return writes_only_by_post(&deployment);
    }
    let mut candidate = None;
    let answered = answer(app, member, &deployment, &mut candidate, head, body, caller).await;
    let mut response = answered.unwrap_or_else(Problem::into_response);
    let answering = candidate.as_ref().unwrap_or(&deployment);
    response.headers_mut().insert(REVISION, answering.revision_text.clone());
    response
}

/// Answers with the deployment, or with its `candidate`, if it has one that this is for.
async fn answer(
    app: &App,
    member: &Member,
    deployment: &Arc<Deployment>,
    candidate: &mut Option<Arc<Deployment>>,
    head: &Parts,
    body: RequestBody,
    caller: Caller<'_>,
) -> Result<Response, Problem> {
    let query = query_parameters(head);
    let (text, charge) = read(app, deployment, head, &query, body).await?;
    let source = Source {
        id: caller.id,
        client: caller.client,
        method: &head.method,
        // Not as the client wrote it, so that one key has one path.
        path: &deployment.path,
        query: &query,
        headers: &head.headers,
        body: &text,
        charge: &charge,
    };
    let deployment = match deployment.candidate_for(&source) {
        Some(chosen) => &*candidate.insert(Arc::clone(chosen)),
        None => deployment,
    };
    if deployment.pipeline().writes && head.method != Method::POST {
        return Ok(writes_only_by_post(deployment));
    }
    let patience = Duration::from_millis(app.server.position_timeout_ms);
    let demand = position::demand(&head.headers, deployment.tenant(), patience).await?;
    let wishes = cache_control::wishes(&head.headers, &deployment.pipeline().client_cache_control);
    match member.answers.serve(deployment, &source, demand, wishes).await {
        Ok(served) => Ok(respond(head, deployment, served, wishes)),
        Err(Failed { error, stated, kept, .. }) => {
            let mut response = Problem::from(error).into_response();
            let headers = response.headers_mut();
            if let Some(stated) = stated {
                position::stamp_stated(headers, &stated);
            }
            if let Some(Kept { age, ttl_left }) = kept {
                headers.insert(CACHE_STATUS, hit(ttl_left, b"; detail=failure"));
                headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
            }
            Ok(response)
        }
    }
}

fn allowing(method: &Method, allow: &'static str) -> Response {
    let mut response = router::method_not_allowed(method).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn query_parameters(head: &Parts) -> Vec<(String, String)> {
    let query = head.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The request's canonical JSON, which is the body of POST and QUERY or `?json=` of GET, and the
/// memory that it takes.
async fn read(
    app: &App,
    deployment: &Deployment,
    head: &Parts,
    query: &[(String, String)],
    body: RequestBody,
) -> Result<(CanonicalJson, Charge), Problem> {
    let limits = JsonLimits { max_bytes: app.server.max_body_bytes, max_depth: MAX_DEPTH };
    if head.method == Method::GET || head.method == Method::HEAD {
        let mut values = query.iter().filter(|(name, _)| name == JSON_PARAMETER);
        match (values.next(), values.next()) {
            (Some((_, text)), None) => Ok((canonicalize(text, limits)?, Charge::none())),
            _ => {
                let detail = "Send the request's JSON once, percent-encoded, as '?json=', or as \
                              the body of POST or QUERY.";
                Err(Problem::new(codes::INVALID_REQUEST, detail))
            }
        }
    } else {
        json::expect_json(&head.headers)?;
        let tenant = &deployment.tenant().name;
        let body = app.bodies.read(tenant, body, &head.headers, app.body_limits()).await?;
        let parse = move |ChargedBody { bytes, mut held }| {
            // Both are in memory only while this runs, on as many threads as there are. Afterwards
            // there is only the canonical text, which is never longer.
            let text = canonicalize(bytes, limits)?;
            held.shrink_to(text.text().len());
            Ok((text, held.charge()))
        };
        app.parsing.parse(tenant, body, parse).await
    }
}

fn respond(head: &Parts, deployment: &Deployment, served: Served, wishes: Wishes) -> Response {
    let answer = &served.answer;
    let etag = answer.etag();
    let safe = head.method != Method::POST;
    let not_modified = safe
        && answer.status == StatusCode::OK
        && matches_etag(head.headers.get(header::IF_NONE_MATCH), &etag);
    let body = if not_modified { Body::empty() } else { Body::from(answer.body.clone()) };
    let mut response = Response::new(body);
    *response.status_mut() = if not_modified { StatusCode::NOT_MODIFIED } else { answer.status };
    let headers = response.headers_mut();
    headers.reserve(16);
    if !not_modified {
        headers.insert(header::CONTENT_TYPE, answer.content_type.clone());
    }
    for (name, value) in &answer.headers {
        headers.append(name, value.clone());
    }
    headers.insert(header::ETAG, etag);
    for (name, value) in respond::untrusted() {
        headers.insert(name, value);
    }
    // Caches must revalidate before reuse: only Weir knows when an answer is no longer true.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    position::stamp_stated(headers, &served.stated);
    if let Some(searchable) = served.searchable {
        position::stamp_writes(headers, searchable);
    }
    headers.insert(CACHE_STATUS, cache_status(&served.via, wishes));
    if let Via::Hit { age, .. } | Via::SharedHit { age, .. } | Via::Stale { age, .. } = served.via {
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    let in_key = deployment.policy.as_ref().into_iter().flat_map(|policy| policy.plan.headers());
    for name in in_key {
        headers.append(header::VARY, HeaderValue::from(name.clone()));
    }
    response
}

/// The `Cache-Status` header (RFC 9211), with this cache's name first.
pub(super) fn cache_status(via: &Via, wishes: Wishes) -> HeaderValue {
    match via {
        // There may have been an answer, which would not have done.
        Via::Stored if wishes.freshness != Freshness::Any => {
            HeaderValue::from_static("weir; fwd=request; stored")
        }
        Via::Hit { ttl_left, .. } => hit(*ttl_left, b""),
        Via::SharedHit { ttl_left, .. } => hit(*ttl_left, b"; detail=shared"),
        Via::Stale { ttl_left, overdue, reason, .. } => stale(*ttl_left, *overdue, *reason),
        Via::Collapsed => HeaderValue::from_static("weir; fwd=miss; collapsed"),
        Via::Stored => HeaderValue::from_static("weir; fwd=miss; stored"),
        Via::Bypass(reason) => {
            let text = format!("weir; fwd=bypass; detail={}", reason.as_str());
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("weir; fwd=bypass"))
        }
        Via::NotStored(reason) => {
            let text = format!("weir; fwd=miss; detail={}", reason.as_str());
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("weir; fwd=miss"))
        }
    }
}

fn hit(ttl_left: Duration, detail: &[u8]) -> HeaderValue {
    let mut text: SmallVec<[u8; 48]> = SmallVec::from_slice(b"weir; hit; ttl=");
    let mut number = itoa::Buffer::new();
    text.extend_from_slice(number.format(ttl_left.as_secs()).as_bytes());
    text.extend_from_slice(detail);
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("weir; hit"))
}

/// A ttl below zero says for how long the answer has been expired.
fn stale(ttl_left: Duration, overdue: Duration, reason: Stale) -> HeaderValue {
    let expired_seconds = overdue.as_millis().div_ceil(1_000);
    let ttl = match expired_seconds {
        0 => ttl_left.as_secs().to_string(),
        expired => format!("-{expired}"),
    };
    let text = format!("weir; hit; ttl={ttl}; detail={}", reason.as_str());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("weir; hit"))
}

/// Compares `If-None-Match` with a strong validator by weak comparison (RFC 9110, 13.1.2).
fn matches_etag(condition: Option<&HeaderValue>, etag: &HeaderValue) -> bool {
    let Some(condition) = condition.and_then(|value| value.to_str().ok()) else { return false };
    let same = |candidate: &str| {
        let candidate = candidate.trim();
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate).as_bytes() == etag
    };
    condition.split(',').any(same)
}

fn writes_only_by_post(deployment: &Deployment) -> Response {
    let detail = format!(
        "The pipeline '{}' writes, so it accepts only POST: GET and QUERY promise to change \
         nothing.",
        deployment.name()
    );
    let mut response = Problem::new(codes::METHOD_NOT_ALLOWED, detail).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

impl From<RunError> for Problem {
    fn from(error: RunError) -> Self {
        let detail = json::sentence(&error.to_string());
        match error {
            RunError::NoSlot(_) | RunError::NoMemory => {
                Self::new(codes::OVERLOADED, detail).retry_after(RETRY_AFTER_SECONDS)
            }
            RunError::DeadlineExceeded { .. } => Self::new(codes::DEADLINE_EXCEEDED, detail),
            RunError::MemoryExceeded { .. } => Self::new(codes::MEMORY_EXCEEDED, detail),
            RunError::StackOverflow => Self::new(codes::STACK_OVERFLOW, detail),
            // The trap's text is for the plugin's author, not for the client.
            RunError::Trapped(_) => {
                Self::new(codes::PIPELINE_TRAPPED, "The pipeline trapped.").logged(detail)
            }
            RunError::InvalidAnswer(_) => {
                Self::new(codes::INVALID_ANSWER, "The pipeline's answer is not valid.")
                    .logged(detail)
            }
            RunError::TooLarge { .. } => Self::new(codes::ANSWER_TOO_LARGE, detail),
            RunError::Failure { kind, code, message } => {
                Self::of_pipeline(kind.status(), code, message)
            }
            RunError::PositionNotReached { .. } => {
                Self::new(codes::POSITION_NOT_REACHED, detail).retry_after(RETRY_AFTER_SECONDS)
            }
            RunError::PositionNotAvailable => {
                Self::new(codes::POSITION_NOT_AVAILABLE, detail).retry_after(RETRY_AFTER_SECONDS)
            }
            RunError::NotCached => Self::new(codes::NOT_CACHED, detail),
            RunError::Panicked => Self::internal(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_compared_weakly() {
        let etag = HeaderValue::from_static("\"a\"");
        for (condition, matches) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            let condition = HeaderValue::from_static(condition);
            assert_eq!(matches_etag(Some(&condition), &etag), matches, "{condition:?}");
        }
        assert!(!matches_etag(None, &etag));
    }
}
