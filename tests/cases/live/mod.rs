//! Plugins that are pushed, deployed and rolled back while the server runs. Swaps of policies, and what they
//! leave of the cache, are in `policies`; versions that are tried on a part of the requests in `candidates`; policies
//! that are tried without effect in `shadow`; what pipelines log in `logs`; what nothing needs in `removing`; swaps
//! while clients ask in `swaps`; and servers that end meanwhile in `crashes`.

mod candidates;
mod crashes;
mod logs;
mod policies;
mod removing;
mod shadow;
mod swaps;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::asking::{ask, searched, server_with_slow_reader};
use crate::harness::{Answer, Client, Server, document, guest, plugin, weir};

/// A folder for a test's files.
struct Author {
    folder: TempDir,
}

impl Author {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A manifest of this role, with these lines.
    fn manifest(&self, role: &str, more: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{role}.toml"));
        let text = format!(
            "name = \"tested\"\nversion = \"1.0.0\"\nrole = \"{role}\"\nwit = \"0.2.0\"\n{more}\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// Pushes a component and returns its digest.
    async fn push(&self, server: &Server, role: &str, component: &Path, more: &str) -> String {
        let manifest = self.manifest(role, more);
        let pushed =
            command(server, &["push", text(component), "--manifest", text(&manifest)]).await;
        assert!(pushed.success, "{}", pushed.stderr);
        pushed.stdout.trim().to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs `weir plugin` for this server.
async fn command(server: &Server, arguments: &[&str]) -> crate::harness::Ended {
    let (url, token) = (server.admin_url(), server.admin_token_file());
    let mut all = vec!["plugin"];
    all.extend(arguments);
    all.extend(["--url", &url, "--token-file", text(&token)]);
    weir(&all).await
}

/// Deploys, and returns the revision.
async fn deploy(server: &Server, role: &str, name: &str, body: &Value) -> u64 {
    let answer = put(server, role, name, body, None).await;
    answer.assert_status(200);
    answer.json()["revision"].as_u64().unwrap()
}

async fn put(
    server: &Server,
    role: &str,
    name: &str,
    body: &Value,
    if_match: Option<u64>,
) -> Answer {
    let mut request = server
        .admin
        .request("PUT", &format!("/admin/v1/{role}/{name}"))
        .bearer_auth(server.admin_token())
        .header("content-type", "application/json")
        .body(body.to_string());
    if let Some(revision) = if_match {
        request = request.header("if-match", format!("\"{revision}\""));
    }
    Answer::to(request).await
}

async fn upload(server: &Server, bytes: Vec<u8>) -> Answer {
    let request = server.admin.request("POST", "/admin/v1/plugins");
    Answer::to(request.bearer_auth(server.admin_token()).body(bytes)).await
}

async fn listed(server: &Server, what: &str) -> Value {
    let request = server.admin.request("GET", &format!("/admin/v1/{what}"));
    let answer = Answer::to(request.bearer_auth(server.admin_token())).await;
    answer.assert_status(200);
    answer.json()
}

async fn roll_back(server: &Server, role: &str, name: &str) -> Answer {
    let request = server.admin.request("POST", &format!("/admin/v1/{role}/{name}/rollback"));
    Answer::to(request.bearer_auth(server.admin_token())).await
}

/// Pushes `policy-default` with its own manifest, and returns its digest.
async fn default_policy(server: &Server) -> String {
    let author = Author::new();
    let manifest = author.folder.path().join("plugin.toml");
    fs::write(&manifest, include_str!("../../../plugins/policy-default/plugin.toml")).unwrap();
    let component = plugin("policy-default");
    let pushed = command(server, &["push", text(&component), "--manifest", text(&manifest)]).await;
    assert!(pushed.success, "{}", pushed.stderr);
    pushed.stdout.trim().to_owned()
}

/// A server that hosts `echo` from its configuration.
async fn echoing() -> Server {
    Server::with(|config| {
        config.policy("default", &plugin("policy-default"));
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await
}

fn revision(answer: &Answer) -> u64 {
    answer.header("weir-revision").parse().unwrap()
}

#[tokio::test]
async fn a_component_becomes_a_served_answer_by_two_commands_and_stays_after_a_restart() {
    let mut server = echoing().await;
    let digest = Author::new().push(&server, "pipeline", &plugin("echo"), "").await;
    ask(&server.client, "new", &json!({})).await.assert_problem(404, "unknown-pipeline");
    let deployed = command(&server, &["deploy", "new", &digest]).await;
    assert!(deployed.success, "{}", deployed.stderr);
    let answer = ask(&server.client, "new", &json!({ "a": 1 })).await;
    answer.assert_status(200);
    assert_eq!(deployed.stdout, format!("new has revision {}\n", revision(&answer)));
    let before = revision(&answer);
    server = server.restart().await;
    let answer = ask(&server.client, "new", &json!({ "a": 1 })).await;
    answer.assert_status(200);
    assert_eq!(revision(&answer), before);
    let list = command(&server, &["list"]).await;
    assert!(list.stdout.contains(&digest) && list.stdout.contains("tested"), "{}", list.stdout);
}

#[tokio::test]
async fn a_deployment_takes_the_place_of_the_configured_one_and_is_rolled_back() {
    let mut server = echoing().await;
    let first = ask(&server.client, "echo", &json!({})).await;
    first.assert_status(200);
    let digest = Author::new().push(&server, "pipeline", &guest("trap"), "").await;
    let second = deploy(&server, "pipelines", "echo", &json!({ "digest": digest })).await;
    assert!(second > revision(&first));
    let trapped = ask(&server.client, "echo", &json!({})).await;
    trapped.assert_problem(500, "pipeline-trapped");
    assert_eq!(revision(&trapped), second);
    server = server.restart().await;
    ask(&server.client, "echo", &json!({})).await.assert_problem(500, "pipeline-trapped");
    let back = roll_back(&server, "pipelines", "echo").await;
    back.assert_status(200);
    let third = ask(&server.client, "echo", &json!({})).await;
    third.assert_status(200);
    assert_eq!(json!(revision(&third)), back.json()["revision"]);
    assert!(revision(&third) > second);
    let history = listed(&server, "pipelines/echo").await["history"].clone();
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
}

#[tokio::test]
async fn two_administrators_cannot_overwrite_each_other_unseen() {
    let server = echoing().await;
    let digest = Author::new().push(&server, "pipeline", &plugin("echo"), "").await;
    let seen = listed(&server, "pipelines/echo").await["revision"].as_u64().unwrap();
    let body = json!({ "digest": digest });
    let (one, other) = tokio::join!(
        put(&server, "pipelines", "echo", &body, Some(seen)),
        put(&server, "pipelines", "echo", &body, Some(seen)),
    );
    let (won, lost) = if one.status == 200 { (one, other) } else { (other, one) };
    won.assert_status(200);
    lost.assert_problem(412, "revision-changed");
    let now = revision(&ask(&server.client, "echo", &json!({})).await);
    assert_eq!(won.json()["revision"], now);
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_and_nothing_changes() {
    let server = echoing().await;
    let author = Author::new();
    let before = listed(&server, "pipelines").await;
    let bare = fs::read(plugin("echo")).unwrap();
    upload(&server, bare.clone()).await.assert_problem(422, "invalid-plugin");
    upload(&server, bare[..bare.len() / 2].to_vec()).await.assert_problem(422, "not-allowed");
    upload(&server, b"no component".to_vec()).await.assert_problem(422, "not-allowed");
    for (role, component, more, says) in [
        ("pipeline", plugin("search"), "", "not granted"),
        ("policy", plugin("echo"), "", "right world"),
        ("pipeline", plugin("policy-default"), "", "right world"),
        ("pipeline", plugin("echo"), "nmae = \"x\"", "did you mean 'name'"),
        ("pipeline", plugin("echo"), "[grants]\nteleport = true", "teleport"),
    ] {
        let manifest = author.manifest(role, more);
        let arguments = ["push", text(&component), "--manifest", text(&manifest)];
        let pushed = command(&server, &arguments).await;
        assert!(!pushed.success && pushed.stderr.contains(says), "{says}: {}", pushed.stderr);
    }
    assert_eq!(listed(&server, "plugins").await["plugins"], json!([]));

    let writer = "[grants.collections]\nwrite = [\"*\"]";
    let writer = author.push(&server, "pipeline", &guest("writer"), writer).await;
    let policy = author.push(&server, "policy", &plugin("policy-default"), "").await;
    let unknown = "0".repeat(64);
    for (role, body, status, code) in [
        ("pipelines", json!({ "digest": writer }), 422, "not-allowed"),
        ("pipelines", json!({ "digest": policy }), 422, "not-allowed"),
        ("pipelines", json!({ "digest": unknown }), 404, "unknown-plugin"),
        ("pipelines", json!({ "digest": "x" }), 400, "invalid-request"),
        ("policies", json!({ "digest": writer }), 422, "not-allowed"),
    ] {
        put(&server, role, "echo", &body, None).await.assert_problem(status, code);
    }
    assert_eq!(listed(&server, "pipelines").await, before);
    ask(&server.client, "echo", &json!({})).await.assert_status(200);
}

#[tokio::test]
async fn requests_end_with_what_they_began_with() {
    let server = server_with_slow_reader().await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("one", "one")]).await;
    let asked = async |client: Client| {
        let question = json!({ "collection": "docs", "text": "one", "work": 400_000 });
        ask(&client, "slow", &question).await
    };
    let begun = tokio::spawn(asked(server.client.clone()));
    searched(&server, 1).await;
    let before = listed(&server, "pipelines/slow").await["revision"].clone();
    let digest = Author::new().push(&server, "pipeline", &plugin("echo"), "").await;
    let after = deploy(&server, "pipelines", "slow", &json!({ "digest": digest })).await;
    let new = ask(&server.client, "slow", &json!({ "text": "other" })).await;
    assert_eq!((revision(&new), new.json()["text"].clone()), (after, json!("other")));
    let old = begun.await.unwrap();
    old.assert_status(200);
    assert_eq!(json!(revision(&old)), before);
}
