//! Which web pages may call pipelines and read their answers, as browsers ask it.

use serde_json::json;

use super::tenants::{Key, three_tenants};
use crate::harness::{Answer, Config, Server, document, plugin};

const SEARCH: &str = "/v1/pipelines/search";
const OPEN: &str = "/v1/pipelines/open";
const CLOSED: &str = "/v1/pipelines/closed";
const OTHER: &str = "/v1/pipelines/other";
const APP: &str = "https://app.example";
const SECOND: &str = "http://localhost:3000";
const EVIL: &str = "https://evil.example";

const USUAL: &str = "authorization, cache-control, content-type, if-none-match, weir-min-position, \
                     x-request-id";
const WEIRS: &str = "age, cache-status, etag, retry-after, server-timing, weir-position, weir-positions, \
                     weir-revision, weir-writes, x-request-id, x-response-time";

/// `search` may be called by two pages, with credentials; `open` by any; `closed` by none.
fn three_pipelines(config: &mut Config) {
    config
        .search()
        .set("pipelines.search.cors.origins", vec![APP, SECOND])
        .set("pipelines.search.cors.credentials", true)
        .set("pipelines.search.cors.allowed_headers", vec!["X-Trace"])
        .pipeline("open", &plugin("echo"), &[])
        .set("pipelines.open.cors.origins", vec!["*"])
        .set("pipelines.open.cors.exposed_headers", vec!["X-Own"])
        .set("pipelines.open.cors.max_age_seconds", 60)
        .pipeline("closed", &plugin("echo"), &[]);
}

/// A request as a browser sends it for a page.
struct Sent<'a> {
    method: &'a str,
    path: &'a str,
    origin: Option<&'a str>,
    /// The method that a preflight is about.
    wanted: Option<&'a str>,
}

impl<'a> Sent<'a> {
    fn new(
        method: &'a str,
        path: &'a str,
        origin: Option<&'a str>,
        wanted: Option<&'a str>,
    ) -> Self {
        Self { method, path, origin, wanted }
    }

    async fn to(&self, server: &Server) -> Answer {
        let mut request = server.client.request(self.method, self.path);
        if let Some(origin) = self.origin {
            request = request.header("origin", origin);
        }
        if let Some(wanted) = self.wanted {
            request = request.header("access-control-request-method", wanted);
            request = request.header("access-control-request-headers", "content-type,x-trace");
        }
        if self.method == "POST" {
            request = request.header("content-type", "application/json").body("{\"a\":1}");
        }
        Answer::to(request).await
    }
}

/// The headers of an answer that concern pages of other origins.
fn said(answer: &Answer) -> Vec<(&str, &str)> {
    let names = [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-expose-headers",
        "access-control-max-age",
    ];
    let about_cors = names.into_iter().map(|name| (name, answer.header(name)));
    let varies = answer.headers.get_all("vary").iter().any(|value| value == "origin");
    let vary = varies.then_some(("vary", "origin"));
    about_cors.filter(|(_, value)| !value.is_empty()).chain(vary).collect()
}

#[tokio::test]
async fn pages_are_told_what_they_may_do() {
    let server = Server::with(three_pipelines).await;
    let allowed = |origin| {
        vec![("access-control-allow-origin", origin), ("access-control-allow-credentials", "true")]
    };
    let sends = [
        ("access-control-allow-methods", "GET, HEAD, POST, QUERY"),
        ("access-control-allow-headers", "+"),
        ("access-control-max-age", "600"),
        ("vary", "origin"),
    ];
    let reads = [("access-control-expose-headers", WEIRS), ("vary", "origin")];
    let with_trace = format!("{USUAL}, x-trace");
    let sends = sends.map(|(name, value)| (name, if value == "+" { &*with_trace } else { value }));
    let varies = vec![("vary", "origin")];
    let any = ("access-control-allow-origin", "*");
    let reads_own = vec![any, ("access-control-expose-headers", "x-own")];
    let sends_to_any = vec![
        any,
        ("access-control-allow-methods", "GET, HEAD, POST, QUERY"),
        ("access-control-allow-headers", USUAL),
        ("access-control-max-age", "60"),
    ];
    let and = |one: Vec<_>, more: &[_]| [&one[..], more].concat();
    let none = Vec::new();
    for (sent, status, expected) in [
        (Sent::new("OPTIONS", SEARCH, Some(APP), Some("POST")), 204, and(allowed(APP), &sends)),
        (
            Sent::new("OPTIONS", SEARCH, Some(SECOND), Some("QUERY")),
            204,
            and(allowed(SECOND), &sends),
        ),
        // What the browser makes of another method is its own affair.
        (Sent::new("OPTIONS", SEARCH, Some(APP), Some("DELETE")), 204, and(allowed(APP), &sends)),
        (Sent::new("OPTIONS", SEARCH, Some(EVIL), Some("POST")), 403, varies.clone()),
        (Sent::new("OPTIONS", SEARCH, Some("null"), Some("POST")), 403, varies.clone()),
        (
            Sent::new("OPTIONS", SEARCH, Some("https://app.example:444"), Some("POST")),
            403,
            varies.clone(),
        ),
        (
            Sent::new("OPTIONS", SEARCH, Some("HTTPS://APP.EXAMPLE"), Some("POST")),
            403,
            varies.clone(),
        ),
        // Not preflights.
        (Sent::new("OPTIONS", SEARCH, Some(APP), None), 405, and(allowed(APP), &reads)),
        (Sent::new("OPTIONS", SEARCH, None, Some("POST")), 405, varies.clone()),
        // Requests: answered for everybody, readable for some.
        (Sent::new("GET", SEARCH, Some(APP), None), 400, and(allowed(APP), &reads)),
        (Sent::new("GET", SEARCH, Some(EVIL), None), 400, varies.clone()),
        (Sent::new("GET", SEARCH, None, None), 400, varies.clone()),
        (Sent::new("DELETE", SEARCH, Some(APP), None), 405, and(allowed(APP), &reads)),
        (Sent::new("POST", OPEN, Some(EVIL), None), 200, reads_own.clone()),
        (Sent::new("POST", OPEN, None, None), 200, reads_own.clone()),
        (Sent::new("OPTIONS", OPEN, Some(EVIL), Some("POST")), 204, sends_to_any),
        (Sent::new("POST", CLOSED, Some(APP), None), 200, none.clone()),
        (Sent::new("OPTIONS", CLOSED, Some(APP), Some("POST")), 405, none.clone()),
        (Sent::new("OPTIONS", OTHER, Some(APP), Some("POST")), 405, none.clone()),
        // Other routes, and paths that only look like one of a pipeline.
        (Sent::new("OPTIONS", "/v1/pipelines", Some(APP), Some("GET")), 405, none.clone()),
        (Sent::new("GET", "/v1/collections", Some(APP), None), 200, none.clone()),
        (Sent::new("GET", "/v1/pipelines/search/x", Some(APP), None), 404, none.clone()),
        (Sent::new("GET", "/x/v1/pipelines/search", Some(APP), None), 404, none),
    ] {
        let answer = sent.to(&server).await;
        let Sent { method, path, origin, .. } = sent;
        assert_eq!(said(&answer), expected, "{method} {path} {origin:?}");
        answer.assert_status(status);
        if status == 204 {
            assert!(answer.body.is_empty());
        } else if status == 403 {
            answer.assert_problem(403, "origin-not-allowed");
        }
    }
    assert_eq!(
        server
            .admin
            .request("OPTIONS", SEARCH)
            .header("origin", APP)
            .send()
            .await
            .unwrap()
            .status(),
        401
    );
}

#[tokio::test]
async fn pages_of_two_origins_share_what_is_cached() {
    let server = Server::with(three_pipelines).await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("bread", "Bread is made of flour.")]).await;
    let ask = async |origin: Option<&str>| {
        let request = server.client.request("POST", SEARCH);
        let request = request.header("content-type", "application/json");
        let request = match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        };
        let answer = Answer::to(request.body(json!({ "query": "flour" }).to_string())).await;
        answer.assert_status(200);
        answer
    };
    let first = ask(Some(APP)).await;
    assert_eq!(first.header("cache-status"), "weir; fwd=miss; stored");
    for origin in [Some(SECOND), Some(APP), Some(EVIL), None] {
        let answer = ask(origin).await;
        assert!(answer.header("cache-status").starts_with("weir; hit"), "{answer:?}");
        assert_eq!((&answer.body, answer.header("etag")), (&first.body, first.header("etag")));
        let may_read = origin.filter(|origin| [APP, SECOND].contains(origin)).unwrap_or_default();
        assert_eq!(answer.header("access-control-allow-origin"), may_read, "{origin:?}");
        assert!(said(&answer).contains(&("vary", "origin")), "{origin:?}");
    }
    // Neither is a page told what another was, by a validator.
    let validated =
        server.client.request("QUERY", SEARCH).header("if-none-match", first.header("etag"));
    let validated = validated.header("origin", SECOND).header("content-type", "application/json");
    let validated = Answer::to(validated.body(json!({ "query": "flour" }).to_string())).await;
    validated.assert_status(304);
    assert_eq!(validated.header("access-control-allow-origin"), SECOND);
}

#[tokio::test]
async fn a_preflight_needs_no_key_and_errors_can_be_read() {
    let (beta, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| {
        three_tenants(config, &beta, &gamma);
        config
            .set("pipelines.search.cors.origins", vec![APP])
            .set("plugins.cors.origins", vec![SECOND])
            .set("tenants.beta.quota.max_requests_per_second", 1);
    })
    .await;
    // As many as a browser likes: they are nobody's requests.
    for path in ["/v1/pipelines/search", "/t/beta/v1/pipelines/search"].repeat(5) {
        let preflight = Sent::new("OPTIONS", path, Some(APP), Some("POST"));
        preflight.to(&server).await.assert_status(204);
    }
    for (path, origin, status, code) in [
        ("/t/beta/v1/pipelines/search", APP, 401, "missing-api-key"),
        ("/v1/pipelines/search", APP, 404, "unknown-tenant"),
        // A name that is not configured.
        ("/t/beta/v1/pipelines/other", SECOND, 401, "missing-api-key"),
    ] {
        let answer = Sent::new("POST", path, Some(origin), None).to(&server).await;
        answer.assert_problem(status, code);
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{path}");
    }
    let with_key =
        server.client.request("GET", "/v1/pipelines/other?json=1").header("origin", SECOND);
    let answer = Answer::to(with_key.bearer_auth(&gamma.key)).await;
    answer.assert_problem(404, "unknown-pipeline");
    assert_eq!(answer.header("access-control-allow-origin"), SECOND);
    // A name that is configured has what its own section says, which is nothing.
    let echo = Sent::new("POST", "/t/beta/v1/pipelines/echo", Some(SECOND), None).to(&server).await;
    assert!(said(&echo).is_empty(), "{echo:?}");
}

#[tokio::test]
async fn what_would_open_more_than_is_meant_is_refused() {
    for (origins, more, says) in [
        (vec!["*"], Some("credentials"), "pipelines.echo.cors.credentials: with them"),
        (vec!["*", APP], None, "pipelines.echo.cors.origins: '*' stands for all origins"),
        (vec![], None, "pipelines.echo.cors.origins: name at least one"),
        (vec!["null"], None, "'null' is not an origin as browsers send it"),
        (vec!["https://app.example/"], None, "it has no path, and no '/' at its end"),
    ] {
        let ended = Server::refused(|config| {
            config
                .pipeline("echo", &plugin("echo"), &[])
                .set("pipelines.echo.cors.origins", origins);
            if let Some(key) = more {
                config.set(&format!("pipelines.echo.cors.{key}"), true);
            }
        });
        ended.await.assert_refused(&[says]);
    }
}
