//! Quotas: what a tenant may have, and that its share of the caches is nobody else's.

use futures::future::join_all;
use serde_json::json;

use super::tenants::{Key, Sender, acme_and_beta, three_tenants};
use crate::harness::{Answer, Raw, Server, eventually, guest, in_model};

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
        config.set("cache.shared.backend", "none");
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
