//! Tenants: which tenant a request belongs to, and that tenants share nothing. What each of them may have
//! is in `quotas`.

use serde_json::json;

use crate::harness::{Answer, Config, Server, document, weir};

/// A key as a tenant sends it, and as the configuration stores it.
pub(super) struct Key {
    pub(super) key: String,
    stored: String,
}

impl Key {
    /// A key made by `weir api-key`, as an operator makes one.
    pub(super) async fn new() -> Self {
        let made = weir(&["api-key"]).await;
        assert!(made.success, "{made:?}");
        let stored = made.stderr.split_once("api_keys = [\"").unwrap().1;
        let stored = stored.split_once('"').unwrap().0.to_owned();
        Self { key: made.stdout.trim().to_owned(), stored }
    }
}

/// `acme` is identified by its host name, `beta` by its path or host name and a key, and `gamma` by
/// its key alone. `gamma` has no `echo`.
pub(super) fn three_tenants(config: &mut Config, beta: &Key, gamma: &Key) {
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
pub(super) struct Sender<'a> {
    pub(super) server: &'a Server,
    pub(super) host: &'a str,
    pub(super) prefix: &'a str,
    pub(super) key: Option<&'a str>,
}

impl Sender<'_> {
    pub(super) async fn send(
        self,
        method: &str,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Answer {
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

    pub(super) async fn write(self, id: &str, text: &str) -> Answer {
        let body = json!({ "documents": [document(id, text)] });
        self.send("POST", "/v1/collections/docs/documents", Some(body)).await
    }

    pub(super) async fn ingest(self, id: &str, text: &str) -> Answer {
        let answer = self.write(id, text).await;
        answer.assert_status(200);
        answer
    }

    pub(super) async fn search(self) -> Answer {
        self.ask("leave").await
    }

    pub(super) async fn ask(self, query: &str) -> Answer {
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

pub(super) fn acme_and_beta<'a>(server: &'a Server, beta: &'a Key) -> (Sender<'a>, Sender<'a>) {
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
