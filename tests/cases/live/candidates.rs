//! Versions that answer a part of the requests, and that are rolled back by themselves if they are worse.

use super::*;
use crate::cases::asking::ask_with;
use crate::harness::eventually;

/// A server that hosts `echo` without a policy, and the digest of a plugin that answers something else.
async fn echoing_alone(candidate: &str) -> (Server, String) {
    let server = Server::with(|config| {
        config.policy("default", &plugin("policy-default"));
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    let digest = Author::new().push(&server, "pipeline", &guest(candidate), "").await;
    (server, digest)
}

/// Tries a plugin on so many percent of the requests, by the header `x-user`. Returns the revision.
async fn tried(server: &Server, digest: &str, percent: u8) -> u64 {
    let by = json!({ "header": "x-user" });
    let body = json!({ "digest": digest, "weight_percent": percent, "split_by": by });
    deploy(server, "pipelines", "echo", &body).await
}

async fn asked_by(server: &Server, user: u32, number: u32) -> Answer {
    let body = json!({ "number": number });
    ask_with(&server.client, "echo", &body, ("x-user", &user.to_string())).await
}

async fn candidate(server: &Server) -> Value {
    listed(server, "pipelines/echo").await["candidate"].clone()
}

/// The revisions that answer these users, each twice.
async fn sides(server: &Server, users: std::ops::Range<u32>) -> Vec<u64> {
    let mut sides = Vec::new();
    for user in users {
        let (one, other) = (asked_by(server, user, 1).await, asked_by(server, user, 2).await);
        assert_eq!(revision(&one), revision(&other), "user {user} stays");
        let is_echo = one.json() == json!({ "number": 1 });
        let is_base = revision(&one) == base(server).await;
        assert_eq!(is_echo, is_base, "the revision says which has made it: {one:?}");
        sides.push(revision(&one));
    }
    sides
}

/// The revision that answers whoever is not in the candidate's part.
async fn base(server: &Server) -> u64 {
    revision(&ask(&server.client, "echo", &json!({})).await)
}

#[tokio::test]
async fn a_part_of_the_users_gets_the_candidate_and_stays_with_it() {
    let (mut server, digest) = echoing_alone("reads-method").await;
    let before = base(&server).await;
    let first = tried(&server, &digest, 20).await;
    let part = sides(&server, 0..100).await;
    let in_part = part.iter().filter(|revision| **revision == first).count();
    assert!((8..=36).contains(&in_part), "{in_part}");
    assert_eq!(base(&server).await, before, "requests without the header are the base's");

    // Whoever was in the smaller part is in the larger one.
    let second = tried(&server, &digest, 60).await;
    let larger = sides(&server, 0..100).await;
    for (smaller, larger) in part.iter().zip(&larger) {
        assert!(*smaller != first || *larger == second, "{smaller} {larger}");
    }
    let in_larger = larger.iter().filter(|revision| **revision == second).count();
    assert!((45..=75).contains(&in_larger), "{in_larger}");
    let shown = candidate(&server).await;
    assert_eq!((&shown["digest"], &shown["weight_percent"]), (&json!(digest), &json!(60)));
    let runs = |side: &str| shown["compared"][side]["runs"].as_u64().unwrap();
    assert_eq!(runs("candidate"), 2 * (in_part + in_larger) as u64, "{shown}");

    server = server.restart().await;
    assert_eq!(sides(&server, 0..100).await, larger, "a restart changes nothing");

    let back = roll_back(&server, "pipelines", "echo").await;
    back.assert_status(200);
    assert_eq!(candidate(&server).await, Value::Null);
    assert!(sides(&server, 0..20).await.iter().all(|side| json!(side) == back.json()["revision"]));
    roll_back(&server, "pipelines", "echo").await.assert_problem(409, "nothing-before");
}

#[tokio::test]
async fn a_candidate_is_deployed_for_all_and_rolled_back() {
    let (server, digest) = echoing_alone("reads-method").await;
    tried(&server, &digest, 50).await;
    let all = deploy(&server, "pipelines", "echo", &json!({ "digest": digest })).await;
    assert_eq!(candidate(&server).await, Value::Null);
    let answer = ask(&server.client, "echo", &json!({ "number": 1 })).await;
    assert_eq!(revision(&answer), all);
    assert_ne!(answer.json(), json!({ "number": 1 }));
    roll_back(&server, "pipelines", "echo").await.assert_status(200);
    let answer = ask(&server.client, "echo", &json!({ "number": 1 })).await;
    assert_eq!(answer.json(), json!({ "number": 1 }));
    assert_eq!(candidate(&server).await, Value::Null, "what is rolled back to is no trial");
}

#[tokio::test]
async fn a_candidate_that_fails_is_rolled_back_by_itself() {
    let (server, digest) = echoing_alone("trap").await;
    tried(&server, &digest, 50).await;
    let mut failed = 0;
    for user in 0..2_000 {
        let answer = asked_by(&server, user, 1).await;
        failed += usize::from(answer.status != 200);
        if failed >= 300 {
            break;
        }
    }
    assert!(failed >= 300, "{failed}");
    eventually("it is rolled back", async || candidate(&server).await.is_null().then_some(()))
        .await;
    for user in 0..100 {
        asked_by(&server, user, 1).await.assert_status(200);
    }
    let history = listed(&server, "pipelines/echo").await["history"].clone();
    let by = history[0]["by"].as_str().unwrap();
    assert!(by.starts_with("weir: ") && by.contains("failed"), "{by}");
    let rolled_back = [("reason", "fails")];
    let count = server.client.metric("weir_candidates_rolled_back_total", &rolled_back).await;
    assert_eq!(count, 1.0);
}

#[tokio::test]
async fn a_candidate_that_is_to_stay_stays() {
    let (server, digest) = echoing_alone("trap").await;
    let body = json!({ "digest": digest, "weight_percent": 50, "roll_back": false });
    deploy(&server, "pipelines", "echo", &body).await;
    for number in 0..1_600 {
        ask(&server.client, "echo", &json!({ "number": number })).await;
    }
    let shown = candidate(&server).await;
    let count = |side: &str, key: &str| shown["compared"][side][key].as_u64().unwrap();
    assert!(count("candidate", "failed") > 600 && count("base", "failed") == 0, "{shown}");
    assert!(count("candidate", "runs") + count("base", "runs") == 1_600, "{shown}");
}

#[tokio::test]
async fn what_cannot_be_tried_is_refused() {
    let (server, digest) = echoing_alone("reads-method").await;
    let policy = Author::new().push(&server, "policy", &plugin("policy-default"), "").await;
    for (role, name, body, status, code) in [
        ("pipelines", "echo", json!({ "digest": digest, "weight_percent": 0 }), 422, "not-allowed"),
        (
            "pipelines",
            "echo",
            json!({ "digest": digest, "weight_percent": 100 }),
            422,
            "not-allowed",
        ),
        (
            "pipelines",
            "echo",
            json!({ "digest": digest, "weight_percent": 300 }),
            400,
            "invalid-request",
        ),
        (
            "pipelines",
            "echo",
            json!({ "digest": digest, "split_by": "key" }),
            400,
            "invalid-request",
        ),
        (
            "pipelines",
            "echo",
            json!({ "digest": digest, "weight_percent": 5, "split_by": { "header": "no such" } }),
            400,
            "invalid-request",
        ),
        ("pipelines", "echo", json!({ "digest": policy, "weight_percent": 5 }), 422, "not-allowed"),
        (
            "pipelines",
            "echo",
            json!({ "digest": digest, "weight_percent": 5, "policy": "none" }),
            404,
            "unknown-deployment",
        ),
        (
            "pipelines",
            "none",
            json!({ "digest": digest, "weight_percent": 5 }),
            404,
            "unknown-deployment",
        ),
        (
            "policies",
            "default",
            json!({ "digest": policy, "weight_percent": 5 }),
            422,
            "not-allowed",
        ),
    ] {
        put(&server, role, name, &body, None).await.assert_problem(status, code);
    }
    let body = json!({ "digest": digest, "weight_percent": 5, "policy": "default" });
    put(&server, "pipelines", "echo", &body, None).await.assert_status(200);
    // Two versions would have one revision.
    let swap = json!({ "digest": policy });
    put(&server, "policies", "default", &swap, None).await.assert_problem(409, "in-use");
    roll_back(&server, "pipelines", "echo").await.assert_status(200);
    put(&server, "policies", "default", &swap, None).await.assert_status(200);
}

async fn undeploy(server: &Server, role: &str, name: &str) -> Answer {
    let request = server.admin.request("DELETE", &format!("/admin/v1/{role}/{name}"));
    Answer::to(request.bearer_auth(server.admin_token())).await
}

#[tokio::test]
async fn what_is_undeployed_is_not_served_and_can_be_rolled_back() {
    let (mut server, digest) = echoing_alone("reads-method").await;
    let policy = Author::new().push(&server, "policy", &plugin("policy-default"), "").await;
    deploy(&server, "policies", "other", &json!({ "digest": policy })).await;
    deploy(&server, "pipelines", "new", &json!({ "digest": digest, "policy": "other" })).await;
    ask(&server.client, "new", &json!({})).await.assert_status(200);
    for (role, name, status, code) in [
        ("pipelines", "echo", 409, "in-use"),
        ("policies", "default", 409, "in-use"),
        ("policies", "other", 409, "in-use"),
        ("pipelines", "none", 404, "unknown-deployment"),
    ] {
        undeploy(&server, role, name).await.assert_problem(status, code);
    }
    undeploy(&server, "pipelines", "new").await.assert_status(200);
    ask(&server.client, "new", &json!({})).await.assert_problem(404, "unknown-pipeline");
    undeploy(&server, "policies", "other").await.assert_status(200);
    server = server.restart().await;
    ask(&server.client, "new", &json!({})).await.assert_problem(404, "unknown-pipeline");
    let without = roll_back(&server, "pipelines", "new").await;
    without.assert_problem(404, "unknown-deployment");
    roll_back(&server, "policies", "other").await.assert_status(200);
    roll_back(&server, "pipelines", "new").await.assert_status(200);
    ask(&server.client, "new", &json!({})).await.assert_status(200);
}
