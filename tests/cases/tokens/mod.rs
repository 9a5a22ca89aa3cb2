//! Tokens with scopes: how they are made and revoked, and that a secret is kept nowhere. What each allows is in
//! `routes`, and what the audit log says of those who have them in `audited`.

mod audited;
mod routes;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use self::audited::audit;
use super::asking::ask;
use crate::harness::{Answer, Server, guest, plugin, weir};

/// A server with two tenants that hosts `echo`.
async fn server() -> Server {
    Server::with(|config| {
        config.policy("default", &plugin("policy-default"));
        config.pipeline("echo", &plugin("echo"), &[]);
        for name in ["acme", "globex"] {
            config.set(&format!("tenants.{name}.hosts"), vec![format!("{name}.example")]);
        }
    })
    .await
}

/// Sends JSON with a token.
async fn send(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let request = server.admin.request(method, path).bearer_auth(token);
    let request = match method {
        "GET" => request,
        _ => request.header("content-type", "application/json").body(body.to_string()),
    };
    Answer::to(request).await
}

async fn get(server: &Server, token: &str, path: &str) -> Answer {
    send(server, token, "GET", path, &Value::Null).await
}

/// A token that was made.
struct Made {
    id: String,
    text: String,
}

impl Made {
    /// What nobody can guess of it.
    fn secret(&self) -> &str {
        self.text.strip_prefix(&format!("weirtoken_{}_", self.id)).unwrap()
    }
}

async fn make(server: &Server, scopes: &[&str], tenants: Option<&[&str]>) -> Made {
    let mut body = json!({ "name": "ci", "scopes": scopes });
    if let Some(tenants) = tenants {
        body["tenants"] = json!(tenants);
    }
    let answer = server.administer("tokens", &body).await;
    answer.assert_status(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let text = |key: &str| answer.json()[key].as_str().unwrap().to_owned();
    Made { id: text("id"), text: text("token") }
}

async fn revoke(server: &Server, id: &str) -> Answer {
    let path = format!("/admin/v1/tokens/{id}");
    send(server, &server.admin_token(), "DELETE", &path, &Value::Null).await
}

/// Asserts that the token lets nobody in. After a few attempts, further ones are not looked at.
async fn assert_let_in_nowhere(server: &Server, token: &str) {
    let answer = get(server, token, "/admin/v1/plugins").await;
    match answer.status {
        429 => answer.assert_problem(429, "rate-limited"),
        _ => answer.assert_problem(401, "invalid-admin-token"),
    }
}

#[tokio::test]
async fn the_public_listener_clears_with_a_token_that_may() {
    let server = server().await;
    let (reads, clears) =
        (make(&server, &["read"], None).await, make(&server, &["cache"], Some(&["acme"])).await);
    let clear = async |token: &str, tenant: &str| {
        let request = server.client.request("POST", "/health/cache/clear").bearer_auth(token);
        let body = json!({ "tenant": tenant }).to_string();
        Answer::to(request.header("content-type", "application/json").body(body)).await
    };
    clear(&reads.text, "acme").await.assert_problem(403, "token-scope");
    clear(&clears.text, "globex").await.assert_problem(403, "token-scope");
    clear(&clears.text, "acme").await.assert_status(200);
    revoke(&server, &clears.id).await.assert_status(200);
    clear(&clears.text, "acme").await.assert_problem(401, "invalid-admin-token");
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_both_stay_after_a_restart() {
    let mut server = server().await;
    let (kept, revoked) =
        (make(&server, &["read"], None).await, make(&server, &["read"], None).await);
    for token in [&kept, &revoked] {
        get(&server, &token.text, "/admin/v1/plugins").await.assert_status(200);
    }
    // Two administrators at once: one of them has revoked it.
    let (one, other) = tokio::join!(revoke(&server, &revoked.id), revoke(&server, &revoked.id));
    let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
    won.assert_status(200);
    lost.assert_problem(404, "unknown-token");
    assert_let_in_nowhere(&server, &revoked.text).await;
    server = server.restart().await;
    get(&server, &kept.text, "/admin/v1/plugins").await.assert_status(200);
    assert_let_in_nowhere(&server, &revoked.text).await;
    assert_let_in_nowhere(&server, &format!("{}x", kept.text)).await;
    let actions: Vec<_> = audit(&server, "").await["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(actions, ["revoke token", "create token", "create token"]);
}

#[tokio::test]
async fn what_could_do_nothing_or_be_mistaken_is_refused() {
    let server = server().await;
    for (body, status, code) in [
        (json!({ "name": "ci", "scopes": [] }), 400, "invalid-request"),
        (json!({ "name": "ci", "scopes": ["admin"] }), 400, "invalid-request"),
        (json!({ "name": "admin", "scopes": ["read"] }), 400, "invalid-request"),
        (json!({ "name": "No Name", "scopes": ["read"] }), 400, "invalid-request"),
        (json!({ "name": "ci", "scopes": ["read"], "tenants": [] }), 400, "invalid-request"),
        (
            json!({ "name": "ci", "scopes": ["deploy"], "tenants": ["acme"] }),
            400,
            "invalid-request",
        ),
        (json!({ "name": "ci", "scopes": ["read"], "tenants": ["nobody"] }), 404, "unknown-tenant"),
        (json!({ "name": "ci", "scopes": ["read"], "secret": "mine" }), 400, "invalid-request"),
    ] {
        server.administer("tokens", &body).await.assert_problem(status, code);
    }
    for id in ["0000000000000000", "x", "0"] {
        revoke(&server, id).await.assert_problem(404, "unknown-token");
    }
    let tokens = get(&server, &server.admin_token(), "/admin/v1/tokens").await;
    assert_eq!(tokens.json()["tokens"], json!([]));
}

#[tokio::test]
async fn no_secret_is_in_a_file_or_in_the_log() {
    let mut server = server().await;
    let (used, revoked) =
        (make(&server, &["read"], None).await, make(&server, &["cache"], Some(&["acme"])).await);
    get(&server, &used.text, "/admin/v1/tokens").await.assert_status(200);
    get(&server, &revoked.text, "/admin/v1/tokens").await.assert_problem(403, "token-scope");
    revoke(&server, &revoked.id).await.assert_status(200);
    assert_let_in_nowhere(&server, &revoked.text).await;
    let shown = get(&server, &server.admin_token(), "/admin/v1/tokens").await.text();
    server.sigterm();
    server.wait().await;
    let files = contents(server.folder());
    assert!(files.iter().any(|(name, _)| name.ends_with("system.sqlite")), "it looks at all files");
    for token in [&used, &revoked] {
        assert_eq!(token.secret().len(), 43);
        assert!(!shown.contains(token.secret()), "{shown}");
        for (name, bytes) in &files {
            assert!(!contains(bytes, token.secret().as_bytes()), "{name} has a secret");
        }
    }
}

/// All files below a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[tokio::test]
async fn tokens_are_made_used_and_revoked_by_commands() {
    let server = Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    let (url, root) = (server.admin_url(), server.admin_token_file());
    let run = async |token: &Path, arguments: &[&str]| {
        let file = token.to_str().unwrap();
        weir(&[arguments, &["--url", &url, "--token-file", file]].concat()).await
    };
    let out = server.folder().join("ci-token");
    let file = out.to_str().unwrap();
    let create = ["token", "create", "ci", "--scope", "read", "--scope", "deploy", "--out", file];
    let made = run(&root, &create).await;
    assert!(made.success, "{}", made.stderr);
    let (id, _) = made.stdout.split_once(' ').unwrap();
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = fs::read_to_string(&out).unwrap();
    assert!(!made.stdout.contains(secret.trim()));
    run(&root, &create).await.assert_refused(&["cannot create", "ci-token"]);
    let refused = server.folder().join("refused");
    let arguments = ["token", "create", "ci", "--scope", "all", "--out", refused.to_str().unwrap()];
    run(&root, &arguments).await.assert_refused(&["invalid-request"]);
    assert!(!refused.exists(), "a file without a token is not kept");

    let listed = run(&out, &["token", "list"]).await;
    let line = listed.stdout.lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("read deploy") && line.ends_with("valid"), "{line}");
    run(&out, &["token", "create", "other", "--scope", "read"])
        .await
        .assert_refused(&["token-scope", "admin.token_file"]);
    run(&out, &["cache", "invalidate", "--everything"]).await.assert_refused(&["token-scope"]);

    let manifest = server.folder().join("plugin.toml");
    let text = "name = \"trap\"\nversion = \"1.0.0\"\nrole = \"pipeline\"\nwit = \"0.2.0\"\n";
    fs::write(&manifest, text).unwrap();
    let component = guest("trap");
    let component = component.to_str().unwrap();
    let push = ["plugin", "push", component, "--manifest", manifest.to_str().unwrap()];
    let pushed = run(&out, &push).await;
    assert!(pushed.success, "{}", pushed.stderr);
    let deployed = run(&out, &["plugin", "deploy", "echo", pushed.stdout.trim()]).await;
    assert!(deployed.success, "{}", deployed.stderr);
    ask(&server.client, "echo", &json!({})).await.assert_problem(500, "pipeline-trapped");
    let shown = get(&server, secret.trim(), "/admin/v1/pipelines/echo").await.json();
    assert_eq!(shown["history"][0]["by"], format!("ci ({id})"));
    let audited = run(&root, &["audit", "--target", "pipeline echo", "--limit", "5"]).await;
    let line = audited.stdout.lines().nth(1).unwrap();
    assert!(line.contains(id) && line.contains("deploy") && line.contains("revision"), "{line}");

    let revoked = run(&root, &["token", "revoke", id]).await;
    assert_eq!(revoked.stdout, format!("revoked {id}\n"), "{}", revoked.stderr);
    run(&out, &["token", "list"]).await.assert_refused(&["invalid-admin-token"]);
    run(&root, &["token", "revoke", id]).await.assert_refused(&["unknown-token"]);
    let listed = run(&root, &["--json", "token", "list"]).await;
    assert!(!listed.success, "--json belongs to the command");
    let listed = run(&root, &["token", "--json", "list"]).await;
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert!(listed["tokens"][0]["revoked_unix_ms"].is_u64(), "{listed}");
}
