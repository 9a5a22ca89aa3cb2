//! Tenants: which tenant a request belongs to, and that tenants share nothing.

use futures::future::join_all;
use serde_json::json;

use crate::harness::{Answer, Config, Raw, Server, document, eventually, guest, in_model, weir};

/// A key as a tenant sends it, and as the configuration stores it.
struct Key {
    key: String,
    stored: String,
}

impl Key {
    /// A key made by `weir api-key`, as an operator makes one.
    async fn new() -> Self {
        let made = weir(&["api-key"]).await;
        assert!(made.success, "{made:?}");
        let stored = made.stderr.split_once("api_keys = [\"").unwrap().1;
        let stored = stored.split_once('"').unwrap().0.to_owned();
        Self { key: made.stdout.trim().to_owned(), stored }
    }
}

/// `acme` is identified by its host name, `beta` by its path or host name and a key, and `gamma` by
/// its key alone. `gamma` has no `echo`.
fn three_tenants(config: &mut Config, beta: &Key, gamma: &Key) {
    config
        .search()
        .pipeline("echo", &crate::harness::plugin("echo"), &[])
        .set("server.allowed_hosts", vec!["*"])
        .set("tenants.acme.hosts", vec!["acme.example"])
        .set("tenants.beta.path_prefix", "/t/beta")
        .set("tenants.beta.hosts", vec!["beta.example"])
        .set("tenants.beta.api_keys", vec![beta.stored.clone()])
        .set("tenants.gamma.api_keys", vec![gamma.stored.clone()])
        .set("tenants.gamma.pipelines", vec!["sea*"]);
}

/// A way to send requests.
#[derive(Clone, Copy)]
struct Sender<'a> {
    server: &'a Server,
    host: &'a str,
    prefix: &'a str,
    key: Option<&'a str>,
}

impl Sender<'_> {
    async fn send(self, method: &str, path: &str, body: Option<serde_json::Value>) -> Answer {
        let path = format!("{}{path}", self.prefix);
        let mut request = self.server.client.request(method, &path).header("host", self.host);
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        Answer::to(request).await
    }

    async fn write(self, id: &str, text: &str) -> Answer {
        let body = json!({ "documents": [document(id, text)] });
        self.send("POST", "/v1/collections/docs/documents", Some(body)).await
    }

    async fn ingest(self, id: &str, text: &str) -> Answer {
        let answer = self.write(id, text).await;
        answer.assert_status(200);
        answer
    }

    async fn search(self) -> Answer {
        self.ask("leave").await
    }

    async fn ask(self, query: &str) -> Answer {
        let body = json!({ "query": query, "mode": "keyword" });
        let answer = self.send("POST", "/v1/pipelines/search", Some(body)).await;
        answer.assert_status(200);
        answer
    }
}

#[tokio::test]
async fn which_tenant_a_request_belongs_to() {
    let (beta, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| three_tenants(config, &beta, &gamma)).await;
    let (b, g) = (Some(beta.key.as_str()), Some(gamma.key.as_str()));
    let tampered = format!("{}x", beta.key);
    let of_nobody = "weir_0123456789abcdef_secret";
    let missing = (401, "missing-api-key");
    let invalid = (401, "invalid-api-key");
    let unknown = (404, "unknown-tenant");
    let all = (200, r#"["echo","search"]"#);
    let some = (200, r#"["search"]"#);
    for (host, prefix, key, (status, says)) in [
        ("acme.example", "", None, all),
        ("ACME.example:8080", "", None, all),
        // acme has no keys, so every key is another tenant's or nobody's.
        ("acme.example", "", b, invalid),
        ("acme.example", "", Some(of_nobody), invalid),
        ("beta.example", "", b, all),
        ("beta.example", "", None, missing),
        ("beta.example", "", g, invalid),
        ("beta.example", "", Some(tampered.as_str()), invalid),
        ("other.example", "/t/beta", b, all),
        ("other.example", "/t/beta", None, missing),
        ("other.example", "/t/beta", g, invalid),
        ("other.example", "/t/betas", None, unknown),
        ("other.example", "/t", None, unknown),
        ("other.example", "", g, some),
        ("other.example", "", b, all), // a key alone names its tenant
        ("other.example", "", None, unknown),
        ("other.example", "", Some(of_nobody), invalid),
        ("acme.example.evil", "", None, unknown),
        ("", "", None, unknown),
    ] {
        let sender = Sender { server: &server, host, prefix, key };
        let answer = sender.send("GET", "/v1/pipelines", None).await;
        let case = format!("{host:?} {prefix:?} {key:?}: {}", answer.text());
        assert_eq!(answer.status, status, "{case}");
        if status == 200 {
            assert_eq!(answer.json()["pipelines"].to_string(), says, "{case}");
        } else {
            answer.assert_problem(status, says);
            assert_eq!(answer.header("www-authenticate") == "Bearer", status == 401, "{case}");
        }
    }
    let of_gamma = Sender { server: &server, host: "x", prefix: "", key: g };
    let echo = of_gamma.send("POST", "/v1/pipelines/echo", Some(json!({}))).await;
    echo.assert_problem(404, "unknown-pipeline");
}

fn acme_and_beta<'a>(server: &'a Server, beta: &'a Key) -> (Sender<'a>, Sender<'a>) {
    let acme = Sender { server, host: "acme.example", prefix: "", key: None };
    (acme, Sender { host: "x", prefix: "/t/beta", key: Some(&beta.key), ..acme })
}

#[tokio::test]
async fn tenants_share_nothing() {
    let (key, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| three_tenants(config, &key, &gamma)).await;
    let (acme, beta) = acme_and_beta(&server, &key);
    for tenant in [acme, beta] {
        tenant.send("PUT", "/v1/collections/docs", None).await.assert_status(201);
    }
    let written = acme.ingest("a", "acme gives thirty days of leave").await;
    assert_eq!(
        written.position(),
        beta.ingest("b", "beta gives twenty days of leave").await.position()
    );

    // The policy gives both requests the same key, but there are two entries.
    for (tenant, id) in [(acme, "a"), (beta, "b")] {
        let first = tenant.search().await;
        assert_eq!(
            (first.ids(), first.header("cache-status")),
            (vec![id.into()], "weir; fwd=miss; stored")
        );
        let again = tenant.search().await;
        assert_eq!(again.ids(), [id]);
        assert!(again.header("cache-status").starts_with("weir; hit"), "{again:?}");
    }
    // A write of one tenant neither invalidates the other's answers nor moves its position.
    acme.ingest("a2", "more leave").await;
    let hit = beta.search().await;
    assert!(hit.header("cache-status").starts_with("weir; hit"), "{hit:?}");
    assert_eq!(hit.position(), 2);
    let miss = acme.search().await;
    assert_eq!((miss.header("cache-status"), miss.position()), ("weir; fwd=miss; stored", 3));
    beta.send("GET", "/v1/collections/docs/documents/a", None)
        .await
        .assert_problem(404, "unknown-document");

    // After a crash, everything is still there, and still belongs to its tenant.
    let server = server.restart().await;
    let (acme, beta) = acme_and_beta(&server, &key);
    assert_eq!(acme.search().await.ids().len(), 2);
    assert_eq!(beta.search().await.ids(), ["b"]);
}

#[tokio::test]
async fn a_tenant_has_no_more_than_its_quota() {
    const EXCEEDED: &str = "quota-exceeded";
    let (key, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| {
        three_tenants(config, &key, &gamma);
        config
            .pipeline("writer", &guest("writer"), &["write"])
            .set("tenants.acme.quota.max_documents", 2)
            .set("tenants.acme.quota.max_collections", 1);
    })
    .await;
    let (acme, beta) = acme_and_beta(&server, &key);
    let by_pipeline = async |of: Sender<'_>| {
        let body = json!({ "collection": "docs", "id": "c", "text": "three" });
        of.send("POST", "/v1/pipelines/writer", Some(body)).await
    };
    for tenant in [acme, beta] {
        tenant.send("PUT", "/v1/collections/docs", None).await.assert_status(201);
        tenant.ingest("a", "one").await;
    }
    // Of writes that arrive together, one gets the last place.
    let ids: Vec<_> = (0..8).map(|n| format!("b{n}")).collect();
    let together = join_all(ids.iter().map(|id| acme.write(id, "two"))).await;
    let (stored, refused): (Vec<_>, Vec<_>) = together.iter().partition(|one| one.status == 200);
    assert_eq!(stored.len(), 1, "{together:?}");
    refused.iter().for_each(|refused| refused.assert_problem(403, EXCEEDED));

    acme.write("c", "three").await.assert_problem(403, EXCEEDED);
    by_pipeline(acme).await.assert_problem(403, EXCEEDED);
    acme.send("PUT", "/v1/collections/more", None).await.assert_problem(403, EXCEEDED);
    // It is nobody else's quota.
    beta.send("PUT", "/v1/collections/more", None).await.assert_status(201);
    beta.ingest("b", "two").await;
    by_pipeline(beta).await.assert_status(200);

    acme.ingest("a", "something else").await;
    acme.send("DELETE", "/v1/collections/docs/documents/a", None).await.assert_status(200);
    by_pipeline(acme).await.assert_status(200);
    let counted = acme.send("GET", "/v1/collections/docs", None).await.json();
    assert_eq!((&counted["documents"], &counted["bytes"]), (&json!(2), &json!(5 + 7)));
}

/// How many requests of a tenant were refused because of this limit of its quota.
async fn refused(server: &Server, tenant: &str, limit: &str) -> f64 {
    let labels = [("tenant", tenant), ("limit", limit)];
    server.client.metric("weir_tenant_requests_refused_total", &labels).await
}

/// Waits until a tenant's requests are answered again.
async fn is_answered(tenant: Sender<'_>) {
    eventually("a request is answered", async || {
        let answer = tenant.send("GET", "/v1/pipelines", None).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_tenant_sends_requests_no_faster_than_its_quota() {
    let (key, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| {
        three_tenants(config, &key, &gamma);
        config.set("tenants.beta.quota.max_requests_per_second", 1);
    })
    .await;
    let (acme, beta) = acme_and_beta(&server, &key);
    // Requests with a wrong key are nobody's.
    let wrong = Sender { key: Some(&gamma.key), ..beta };
    for _ in 0..8 {
        wrong.send("GET", "/v1/pipelines", None).await.assert_problem(401, "invalid-api-key");
    }
    let asked = join_all((0..32).map(|_| beta.send("GET", "/v1/pipelines", None))).await;
    let (answered, too_fast): (Vec<_>, Vec<_>) = asked.iter().partition(|one| one.status == 200);
    assert!(!answered.is_empty() && !too_fast.is_empty(), "{asked:?}");
    for answer in &too_fast {
        answer.assert_problem(429, "rate-limited");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(refused(&server, "beta", "rate").await, too_fast.len() as f64);
    // Nobody else is held to it, and probes are not held to anything.
    let unlimited = join_all((0..32).map(|_| acme.send("GET", "/v1/pipelines", None))).await;
    unlimited.iter().for_each(|answer| answer.assert_status(200));
    let probes = join_all((0..32).map(|_| beta.send("GET", "/health/liveness", None))).await;
    probes.iter().for_each(|answer| answer.assert_status(200));
    is_answered(beta).await;
}

/// A request to `echo` of the tenant with this host name, whose handler waits for its body.
async fn waiting(server: &Server, host: &str) -> Raw {
    let head = format!(
        "POST /v1/pipelines/echo HTTP/1.1\r\nhost: {host}\r\ncontent-length: 7\r\n\
         content-type: application/json\r\nexpect: 100-continue\r\n\r\n"
    );
    // An earlier request may still be in flight for a moment after its answer has arrived.
    eventually("a handler asks for the body", async || {
        let mut raw = Raw::connect(server.address).await;
        raw.send(&head).await;
        raw.head().await.starts_with("http/1.1 100").then_some(raw)
    })
    .await
}

#[tokio::test]
async fn a_tenant_has_no_more_requests_in_flight_than_its_quota() {
    let (key, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| {
        three_tenants(config, &key, &gamma);
        config.set("tenants.acme.quota.max_concurrent_requests", 1);
    })
    .await;
    let (acme, beta) = acme_and_beta(&server, &key);
    let mut in_flight = waiting(&server, "acme.example").await;

    for path in ["/v1/pipelines", "/v1/collections"] {
        let refused = acme.send("GET", path, None).await;
        refused.assert_problem(429, "too-many-requests");
        assert_eq!(refused.header("retry-after"), "1");
    }
    assert_eq!(refused(&server, "acme", "concurrency").await, 2.0);
    beta.send("GET", "/v1/pipelines", None).await.assert_status(200);
    acme.send("GET", "/health/readiness", None).await.assert_status(200);

    in_flight.send("{\"a\":1}").await;
    let (head, _) = in_flight.answer().await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    is_answered(acme).await;

    // A client that goes away gives its place back.
    let leaving = waiting(&server, "acme.example").await;
    acme.send("GET", "/v1/pipelines", None).await.assert_problem(429, "too-many-requests");
    drop(leaving);
    is_answered(acme).await;
}

#[tokio::test]
async fn a_tenant_evicts_none_of_anothers_answers() {
    const QUESTIONS: usize = 200;
    let (key, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| {
        three_tenants(config, &key, &gamma);
        // For each of them, a part that a few dozen answers fill.
        config.set("cache.memory_bytes", 96 << 10).set("tenants.beta.quota.cache_bytes", 32 << 10);
    })
    .await;
    let (acme, beta) = acme_and_beta(&server, &key);
    for tenant in [acme, beta] {
        tenant.send("PUT", "/v1/collections/docs", None).await.assert_status(201);
        tenant.ingest("a", "thirty days of leave").await;
    }
    let is_hit = |answer: &Answer| answer.header("cache-status").starts_with("weir; hit");
    assert!(!is_hit(&beta.search().await));
    let questions: Vec<_> = (0..QUESTIONS).map(|n| format!("leave {n}")).collect();
    let mut hits = 0;
    // Asked often enough to be worth more than what beta has asked once.
    for _ in 0..5 {
        hits = 0;
        for question in &questions {
            hits += usize::from(is_hit(&acme.ask(question).await));
        }
    }
    assert!(hits < QUESTIONS / 2, "acme's part is too small for its answers: {hits}");
    assert!(is_hit(&beta.search().await));
}

/// Two texts that are not cached find no room together in a queue for one, so what is cached can be seen
/// without a clock.
#[tokio::test]
async fn cached_vectors_are_a_tenants_own_unless_they_are_shared() {
    let (key, gamma) = (Key::new().await, Key::new().await);
    for is_shared in [false, true] {
        let server = Server::with(|config| {
            three_tenants(config, &key, &gamma);
            config.set(&in_model("max_queued_texts"), 1).set("embedding.share_cache", is_shared);
        })
        .await;
        let (acme, beta) = acme_and_beta(&server, &key);
        let embed = async |of: Sender<'_>, texts: &[&str]| {
            let body = json!({ "model": "all-MiniLM-L6-v2", "input": texts });
            of.send("POST", "/v1/embeddings", Some(body)).await
        };
        let both = ["one text", "another"];
        embed(acme, &both).await.assert_problem(503, "overloaded");
        for text in both {
            embed(acme, &[text]).await.assert_status(200);
        }
        let known = embed(acme, &both).await;
        known.assert_status(200);
        let others = embed(beta, &both).await;
        if is_shared {
            assert_eq!(others.json(), known.json());
        } else {
            others.assert_problem(503, "overloaded");
        }
    }
}

#[tokio::test]
async fn health_needs_no_tenant_and_shows_only_the_callers_own() {
    let (beta, gamma) = (Key::new().await, Key::new().await);
    let server = Server::with(|config| three_tenants(config, &beta, &gamma)).await;
    let nobody = Sender { server: &server, host: "x", prefix: "", key: None };
    for path in ["/health/liveness", "/health/readiness", "/metrics"] {
        nobody.send("GET", path, None).await.assert_status(200);
    }
    let readiness = nobody.send("GET", "/health/readiness", None).await;
    assert_eq!(readiness.json(), json!({ "ready": true, "draining": false }));
    let acme = Sender { host: "acme.example", ..nobody };
    let readiness = acme.send("GET", "/health/readiness", None).await.json();
    assert_eq!(
        readiness["derived"],
        json!({ "healthy": true, "position": 0, "lag": 0, "lagging": [] })
    );
}

#[tokio::test]
async fn without_tenants_every_request_belongs_to_the_default() {
    let server = Server::with(|config| {
        config.search().set("server.allowed_hosts", vec!["*"]);
    })
    .await;
    for host in ["acme.example", "x"] {
        let sender = Sender { server: &server, host, prefix: "", key: Some("weir_x_y") };
        sender.send("GET", "/v1/pipelines", None).await.assert_status(200);
    }
}
