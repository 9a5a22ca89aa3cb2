//! What the audit log says: which token has changed what, by pages and by what it was done to.

use serde_json::{Value, json};

use super::{get, make, send, server};
use crate::harness::Server;

/// Lines of the audit log.
pub(super) async fn audit(server: &Server, query: &str) -> Value {
    let answer = get(server, &server.admin_token(), &format!("/admin/v1/audit{query}")).await;
    answer.assert_status(200);
    answer.json()
}

/// The lines of a page: who, which token, what, to what, and of which tenant.
fn said(page: &Value) -> Vec<[String; 5]> {
    let keys = ["who", "token", "action", "target", "tenant"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let entries = page["entries"].as_array().unwrap().iter();
    entries.map(|entry| keys.map(|key| text(&entry[key]))).collect()
}

fn line(who: &str, token: &str, action: &str, target: &str, tenant: &str) -> [String; 5] {
    [who, token, action, target, tenant].map(str::to_owned)
}

/// All lines, by pages.
async fn all_pages(server: &Server, limit: u32) -> Vec<[String; 5]> {
    let (mut lines, mut next) = (Vec::new(), Value::Null);
    loop {
        let before = next.as_u64().map(|id| format!("&before={id}")).unwrap_or_default();
        let page = audit(server, &format!("?limit={limit}{before}")).await;
        lines.extend(said(&page));
        next = page["next"].clone();
        if next.is_null() {
            return lines;
        }
    }
}

#[tokio::test]
async fn the_audit_log_says_which_token_has_changed_what() {
    let server = server().await;
    let of_acme = make(&server, &["read", "cache"], Some(&["acme"])).await;
    let deploys = make(&server, &["deploy", "read"], None).await;
    let post = async |token: &str, path: &str, body: Value| {
        let answer = send(&server, token, "POST", path, &body).await;
        answer.assert_status(200);
        // The list of what was warmed has been read to its end.
        answer.text()
    };
    let invalidate = json!({ "what": { "pipeline": "echo" }, "tenant": "acme", "soft": true });
    post(&of_acme.text, "/admin/v1/cache/invalidate", invalidate).await;
    let request = json!({ "tenant": "acme", "pipeline": "echo", "body": {} });
    let warm = json!({ "requests": [request], "rate_per_second": 1_000 });
    post(&of_acme.text, "/admin/v1/cache/warm", warm).await;
    post(&server.admin_token(), "/health/cache/clear", json!({})).await;
    let body = json!({ "digest": "0".repeat(64) });
    let refused = send(&server, &deploys.text, "PUT", "/admin/v1/pipelines/echo", &body).await;
    refused.assert_problem(404, "unknown-plugin");

    let (acme, deployer) = (of_acme.id.as_str(), deploys.id.as_str());
    let made = |id: &str| line("admin", "-", "create token", &format!("token {id}"), "-");
    let all = [
        line("ci", deployer, "deploy", "pipeline echo", "-"),
        line("admin", "-", "invalidate", "cache", "globex"),
        line("admin", "-", "invalidate", "cache", "acme"),
        line("ci", acme, "warm", "cache", "acme"),
        line("ci", acme, "invalidate", "cache", "acme"),
        made(deployer),
        made(acme),
    ];
    let page = audit(&server, "").await;
    assert_eq!((said(&page), &page["next"]), (all.to_vec(), &Value::Null));
    let outcome = |line: usize| page["entries"][line]["outcome"].as_str().unwrap();
    assert!(outcome(0).contains("no plugin"), "{}", outcome(0));
    assert!(outcome(4).starts_with("position "), "{}", outcome(4));
    assert_eq!(page["entries"][4]["detail"], r#"{"pipeline":"echo"}, soft"#);

    for (query, lines) in [
        ("?target=cache", &all[1..5]),
        ("?target=pipeline%20echo", &all[..1]),
        ("?target=cache&tenant=globex", &all[1..2]),
        ("?tenant=nobody", &[]),
    ] {
        assert_eq!(said(&audit(&server, query).await), lines, "{query}");
    }
    assert_eq!(all_pages(&server, 3).await, all);
    let own = get(&server, &of_acme.text, "/admin/v1/audit?tenant=acme").await;
    assert_eq!(said(&own.json()), all[2..5]);
    for query in ["?limit=0", "?limit=1001", "?before=x", "?who=ci", "?tenant=No%20Name"] {
        let answer = get(&server, &server.admin_token(), &format!("/admin/v1/audit{query}")).await;
        answer.assert_problem(400, "invalid-request");
    }
}
