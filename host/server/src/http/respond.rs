//! Completes responses: adds the headers that all of them carry, and renders [`Problem`]s,
//! which happens nowhere else.
//!
//! An [`Exchange`] begins when a request's head has arrived and ends with its response's
//! head. Out of scope: headers of single routes (`handler`, `documents`).

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use tracing::{debug, error};
use weir_runtime::request::RequestId;

use super::problem::Problem;
use crate::telemetry::metrics::{Metrics, Route};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// One request and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    id: RequestId,
    started: Instant,
}

impl Exchange {
    /// Begins with the request's head. Keeps the client's `X-Request-Id` if it is valid.
    pub fn begin<B>(request: &Request<B>) -> Self {
        let given = request.headers().get(&REQUEST_ID).cloned().and_then(RequestId::new);
        Self { id: given.unwrap_or_else(new_request_id), started: Instant::now() }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.id
    }

    /// When the request's head had arrived.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Completes `response`: renders its problem, if it carries one, and adds the headers
    /// that every response has.
    #[must_use]
    pub fn finish(self, mut response: Response, metrics: &Metrics, route: Route) -> Response {
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            self.write_problem(&problem, &mut response);
        }
        let elapsed = self.started.elapsed();
        let (id, status) = (&self.id, response.status());
        debug!(request_id = id.as_str(), status = status.as_u16(), ?elapsed, "answered");
        metrics.answered(route, response.status(), elapsed);
        let headers = response.headers_mut();
        stamp_time(headers, elapsed);
        headers.insert(REQUEST_ID, self.id.into_header());
        response
    }

    fn write_problem(&self, problem: &Problem, response: &mut Response) {
        if let Some(log) = problem.log() {
            let request_id = self.id.as_str();
            error!(request_id, code = problem.code(), error = log, "request failed");
        }
        *response.status_mut() = problem.status();
        *response.body_mut() = Body::from(problem.body(self.id.as_str()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        // The router has measured the empty body that carried the problem here.
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // A pipeline may have written the detail.
        for (name, value) in untrusted() {
            headers.insert(name, value);
        }
    }
}

/// The headers of everything that a plugin has written, for browsers: it is what its type says, and
/// if it is a document, then one that runs nothing, loads nothing and has no origin.
pub(super) fn untrusted() -> [(HeaderName, HeaderValue); 2] {
    const SANDBOXED: HeaderValue =
        HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");
    const NO_SNIFF: HeaderValue = HeaderValue::from_static("nosniff");
    [(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF), (header::CONTENT_SECURITY_POLICY, SANDBOXED)]
}

/// A prefix that differs between processes and a counter, which is unique without a random
/// number for each request.
fn new_request_id() -> RequestId {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    RequestId::of([*PROCESS, NEXT.fetch_add(1, Ordering::Relaxed)])
}

/// Adds `X-Response-Time` in seconds and `Server-Timing`'s total in milliseconds. A handler that
/// knows more has already set `Server-Timing`.
fn stamp_time(headers: &mut HeaderMap, elapsed: Duration) {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    headers.insert(RESPONSE_TIME, thousandths(b"", micros / 1_000, b"s"));
    if let Entry::Vacant(server_timing) = headers.entry(SERVER_TIMING) {
        server_timing.insert(thousandths(b"total;dur=", micros, b""));
    }
}

/// A number of thousandths as a decimal number with three places, between two texts. It is written
/// from its end, without an allocation of its own, because every response has two.
fn thousandths(before: &[u8], mut number: u64, after: &[u8]) -> HeaderValue {
    let mut text = [0; 40];
    let mut start = text.len();
    let mut push = |bytes: &[u8]| {
        start -= bytes.len();
        text[start..start + bytes.len()].copy_from_slice(bytes);
    };
    push(after);
    let mut places = 0;
    while number > 0 || places < 4 {
        push(&[b'0' + (number % 10) as u8]);
        number /= 10;
        places += 1;
        if places == 3 {
            push(b".");
        }
    }
    push(before);
    // Digits and fixed ASCII: never refused.
    HeaderValue::from_bytes(&text[start..]).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::codes;
    use axum::response::IntoResponse as _;

    #[test]
    fn a_clients_request_id_is_kept_when_it_is_one() {
        let longest = "a".repeat(64);
        let too_long = "a".repeat(65);
        for (given, kept) in [
            ("a-1_B.c", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("a b", false),
            ("a;b", false),
        ] {
            let mut request = Request::new(());
            if let Ok(value) = HeaderValue::from_str(given) {
                request.headers_mut().insert(REQUEST_ID, value);
            }
            assert_eq!(Exchange::begin(&request).id().as_str() == given, kept, "{given:?}");
        }
    }

    #[test]
    fn new_request_ids_differ() {
        let (a, b) = (new_request_id(), new_request_id());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 32);
    }

    #[test]
    fn times_are_seconds_and_milliseconds() {
        for (micros, seconds, total) in [
            (0, "0.000s", "total;dur=0.000"),
            (12_345, "0.012s", "total;dur=12.345"),
            (1_002_003, "1.002s", "total;dur=1002.003"),
            (u64::MAX, "18446744073709.551s", "total;dur=18446744073709551.615"),
        ] {
            let mut headers = HeaderMap::new();
            stamp_time(&mut headers, Duration::from_micros(micros));
            assert_eq!(headers[RESPONSE_TIME], seconds);
            assert_eq!(headers[SERVER_TIMING], total);
        }
    }

    #[test]
    fn a_problem_is_written_with_the_requests_id() {
        let exchange = Exchange::begin(&Request::new(()));
        let problem = Problem::new(codes::OVERLOADED, "come again").retry_after(2);
        let mut response = problem.into_response();
        // Like axum's router.
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = exchange.finish(response, &Metrics::default(), Route::Other);
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert!(response.headers().contains_key(REQUEST_ID));
    }
}
