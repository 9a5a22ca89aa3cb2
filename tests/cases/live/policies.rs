//! Which answers a swap of the cache policy leaves: those under an equal plan, for no longer than the new
//! one says.

use super::*;
use crate::cases::asking::{STORED, assert_hit, assert_via};

fn question() -> Value {
    json!({ "query": "flour", "mode": "keyword" })
}

/// A server with a shared tier that hosts `search`, with a document.
async fn searching() -> Server {
    let server = Server::with(|config| {
        config.search();
        config.set("cache.shared.backend", "disk");
    })
    .await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("bread", "Bread is made of flour.")]).await;
    server
}

/// Deploys the policy with these settings, and returns the revision.
async fn set(server: &Server, digest: &str, settings: Value) -> u64 {
    deploy(server, "policies", "default", &json!({ "digest": digest, "settings": settings })).await
}

async fn asked(server: &Server) -> Answer {
    ask(&server.client, "search", &question()).await
}

/// Lets a ttl of 1 ms pass.
async fn expire() {
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
}

#[tokio::test]
async fn another_policy_finds_nothing_and_the_one_before_what_it_had() {
    let server = searching().await;
    assert_via(&asked(&server).await, STORED);
    assert_hit(&asked(&server).await);
    let digest = Author::new().push(&server, "policy", &guest("policy-header"), "").await;
    let swapped = set(&server, &digest, json!({})).await;
    let answer = asked(&server).await;
    assert_via(&answer, STORED);
    assert_eq!(revision(&answer), swapped);
    roll_back(&server, "policies", "default").await.assert_status(200);
    assert_hit(&asked(&server).await);
}

#[tokio::test]
async fn an_equal_plan_keeps_the_cache_warm_and_another_does_not() {
    let server = searching().await;
    let before = asked(&server).await;
    assert_via(&before, STORED);
    let digest = default_policy(&server).await;
    for settings in [
        json!({}),
        json!({ "ttl_ms": 7_200_000 }),
        json!({ "ttl_ms": 600_000, "jitter_percent": 10, "stale_if_error_ms": 1 }),
    ] {
        let swapped = set(&server, &digest, settings.clone()).await;
        let answer = asked(&server).await;
        assert_hit(&answer);
        assert_eq!((revision(&answer), &answer.body), (swapped, &before.body), "{settings}");
    }
    set(&server, &digest, json!({ "key_epoch": 1 })).await;
    assert_via(&asked(&server).await, STORED);
}

/// An hour at first, by default.
#[tokio::test]
async fn a_shortened_ttl_binds_what_is_there_and_a_longer_one_does_not() {
    let server = searching().await;
    assert_via(&asked(&server).await, STORED);
    let digest = default_policy(&server).await;
    for (ttl_ms, at_most_s) in [(7_200_000, 3_600), (600_000, 600), (86_400_000, 3_600)] {
        set(&server, &digest, json!({ "ttl_ms": ttl_ms })).await;
        let left_s = assert_hit(&asked(&server).await);
        assert!((at_most_s - 300..=at_most_s).contains(&left_s), "{ttl_ms}: {left_s}");
    }
    // Neither tier has it any more, whatever it was stored for.
    set(&server, &digest, json!({ "ttl_ms": 1, "shared_ttl_ms": 1 })).await;
    expire().await;
    assert_via(&asked(&server).await, STORED);
}

#[tokio::test]
async fn a_shortened_ttl_binds_each_tier() {
    let server = searching().await;
    assert_via(&asked(&server).await, STORED);
    let digest = default_policy(&server).await;
    set(&server, &digest, json!({ "ttl_ms": 1, "shared_ttl_ms": 3_600_000 })).await;
    expire().await;
    let promoted = asked(&server).await;
    promoted.assert_status(200);
    let status = promoted.header("cache-status");
    let left_s = status.strip_prefix("weir; hit; ttl=").and_then(|rest| rest.split(';').next());
    let left_s: u64 = left_s.and_then(|left_s| left_s.parse().ok()).expect(status);
    assert!(left_s <= 3_600, "{status}");
    assert!(status.contains("detail=shared"), "{status}");
}

#[tokio::test]
async fn a_permission_that_ends_also_ends_for_what_is_there() {
    let server = searching().await;
    let digest = default_policy(&server).await;
    let expired_at_once = |stale_ms: u32| json!({ "ttl_ms": 1, "shared_ttl_ms": 1, "stale_while_revalidate_ms": stale_ms });
    set(&server, &digest, expired_at_once(3_600_000)).await;
    asked(&server).await.assert_status(200);
    expire().await;
    let stale = asked(&server).await;
    let status = stale.header("cache-status");
    assert!(status.contains("detail=stale-while-revalidate"), "{stale:?}");
    set(&server, &digest, expired_at_once(0)).await;
    expire().await;
    assert_via(&asked(&server).await, STORED);
}
