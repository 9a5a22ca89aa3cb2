//! Plugins that nothing needs any more, their removal, and the way back to the configuration.

use super::*;

async fn remove(server: &Server, digest: &str) -> Answer {
    let request = server.admin.request("DELETE", &format!("/admin/v1/plugins/{digest}"));
    Answer::to(request.bearer_auth(server.admin_token())).await
}

/// What would be removed, or is, of what was uploaded until now.
async fn collect(server: &Server, only_say: bool) -> Vec<String> {
    let request = server
        .admin
        .request("POST", "/admin/v1/plugins/collect")
        .bearer_auth(server.admin_token())
        .header("content-type", "application/json")
        .body(json!({ "uploaded_before_s": 0, "only_say": only_say }).to_string());
    let answer = Answer::to(request).await;
    answer.assert_status(200);
    let key = if only_say { "unused" } else { "removed" };
    let all = answer.json()[key].clone();
    all.as_array().unwrap().iter().map(|digest| digest.as_str().unwrap().to_owned()).collect()
}

async fn needed_by(server: &Server, digest: &str) -> Value {
    listed(server, &format!("plugins/{digest}")).await["needed_by"].clone()
}

/// Three versions that answer alike.
async fn versions(server: &Server) -> [String; 3] {
    let author = Author::new();
    let mut digests = Vec::new();
    for version in ["a", "b", "c"] {
        let more = format!("description = \"{version}\"");
        digests.push(author.push(server, "pipeline", &plugin("echo"), &more).await);
    }
    digests.try_into().unwrap()
}

#[tokio::test]
async fn what_is_needed_stays_and_everything_else_is_removed() {
    let mut server = echoing().await;
    let [first, second, third] = versions(&server).await;
    for digest in [&first, &second] {
        deploy(&server, "pipelines", "new", &json!({ "digest": digest })).await;
    }
    let tried = json!({ "digest": third, "weight_percent": 5 });
    deploy(&server, "pipelines", "new", &tried).await;
    for (digest, reason) in [(&first, "rollback"), (&second, "deployed"), (&third, "candidate")] {
        let need = json!([{ "role": "pipeline", "name": "new", "reason": reason }]);
        assert_eq!(needed_by(&server, digest).await, need);
        remove(&server, digest).await.assert_problem(409, "in-use");
    }
    assert_eq!(collect(&server, false).await, Vec::<String>::new());

    // The trial ends, and after the next deployment, nothing leads back to the first.
    deploy(&server, "pipelines", "new", &json!({ "digest": third })).await;
    assert_eq!(collect(&server, true).await, std::slice::from_ref(&first));
    assert_eq!(needed_by(&server, &first).await, json!([]), "it was only said");
    remove(&server, &first).await.assert_status(200);
    remove(&server, &first).await.assert_problem(404, "unknown-plugin");
    let again = json!({ "digest": first });
    put(&server, "pipelines", "new", &again, None).await.assert_problem(404, "unknown-plugin");
    server = server.restart().await;
    ask(&server.client, "new", &json!({})).await.assert_status(200);
    roll_back(&server, "pipelines", "new").await.assert_status(200);
    ask(&server.client, "new", &json!({})).await.assert_status(200);
}

#[tokio::test]
async fn a_recent_upload_stays_unless_it_is_named() {
    let server = echoing().await;
    let [first, ..] = versions(&server).await;
    let dry = command(&server, &["gc", "--dry-run"]).await;
    assert_eq!((dry.success, dry.stdout.as_str()), (true, ""), "{}", dry.stderr);
    let removed = command(&server, &["remove", &first]).await;
    assert_eq!((removed.success, removed.stdout), (true, format!("{first}\n")));
    let all = command(&server, &["gc", "--older-than", "0"]).await;
    assert_eq!(all.stdout.lines().count(), 2, "{}", all.stdout);
    assert_eq!(listed(&server, "plugins").await["plugins"], json!([]));
    ask(&server.client, "echo", &json!({})).await.assert_status(200);
}

async fn apply(server: &Server) -> String {
    let (url, token) = (server.admin_url(), server.admin_token_file());
    let applied = weir(&["apply", "--url", &url, "--token-file", text(&token)]).await;
    assert!(applied.success, "{}", applied.stderr);
    applied.stdout
}

#[tokio::test]
async fn what_administrators_have_changed_is_shown_and_taken_back() {
    let mut server = echoing().await;
    let drifted = async |server: &Server| listed(server, "pipelines/echo").await["drifted"].clone();
    assert_eq!(drifted(&server).await, false);
    assert_eq!(apply(&server).await, "", "nothing has changed");
    let digest = Author::new().push(&server, "pipeline", &guest("reads-method"), "").await;
    deploy(&server, "pipelines", "echo", &json!({ "digest": digest })).await;
    deploy(&server, "pipelines", "other", &json!({ "digest": digest })).await;
    server = server.restart().await;
    assert_eq!(drifted(&server).await, true);
    let list = command(&server, &["list"]).await.stdout;
    assert!(list.contains("admin, not weir.toml's"), "{list}");
    let applied = apply(&server).await;
    assert!(applied.starts_with("echo has revision ") && applied.lines().count() == 1, "{applied}");
    let answer = ask(&server.client, "echo", &json!({ "a": 1 })).await;
    assert_eq!(answer.json(), json!({ "a": 1 }));
    assert_eq!(applied, format!("echo has revision {}\n", revision(&answer)));
    assert_eq!(drifted(&server).await, false);
    ask(&server.client, "other", &json!({})).await.assert_status(200);
    server = server.restart().await;
    assert_eq!(ask(&server.client, "echo", &json!({ "a": 1 })).await.json(), json!({ "a": 1 }));
}
