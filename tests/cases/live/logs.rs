//! What pipelines log, and why their runs fail, as their authors see it: at once, over swaps, and each tenant's own.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use h2::client::Builder;
use reqwest::Response;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;
use weir_test_redis::{Fault, Proxy};

use super::*;
use crate::cases::asking::ask_with;
use crate::harness::{binary, eventually};

/// Longer than anything takes that is waited for here.
const DEADLINE: Duration = Duration::from_secs(60);
const GRANTED: &str = "[grants]\nlogging = true";

/// A server that hosts `logger`, for these tenants if there are any.
async fn logging(tenants: &[&str]) -> Server {
    Server::with(|config| {
        config
            .policy("default", &plugin("policy-default"))
            .pipeline("logger", &guest("logger"), &["logging"])
            .pipeline("trap", &guest("trap"), &[])
            .set("log.level", "warn");
        for name in tenants {
            config.set(&format!("tenants.{name}.hosts"), vec![format!("{name}.example")]);
        }
    })
    .await
}

async fn say(server: &Server, pipeline: &str, message: &str) -> Answer {
    let answer = ask(&server.client, pipeline, &json!({ "say": [message] })).await;
    answer.assert_status(200);
    answer
}

/// The same for a tenant.
async fn say_for(server: &Server, tenant: &str, body: &Value) {
    let host = format!("{tenant}.example");
    ask_with(&server.client, "logger", body, ("host", &host)).await.assert_status(200);
}

/// Asks for lines with a token.
async fn get_logs(server: &Server, token: &str, query: &str) -> Answer {
    let request = server.admin.request("GET", &format!("/admin/v1/pipelines/{query}"));
    Answer::to(request.bearer_auth(token)).await
}

/// The lines that are kept.
async fn kept(server: &Server, query: &str) -> Vec<Value> {
    let answer = get_logs(server, &server.admin_token(), query).await;
    answer.assert_status(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn messages(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
}

/// A log that is followed.
struct Followed {
    answer: Response,
    arrived: VecDeque<Value>,
    rest: Vec<u8>,
}

impl Followed {
    async fn start(server: &Server, token: &str, query: &str) -> Self {
        let path = format!("/admin/v1/pipelines/{query}follow");
        let answer = server.admin.request("GET", &path).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        Self { answer, arrived: VecDeque::new(), rest: Vec::new() }
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(line) = self.arrived.pop_front() {
                return Some(line);
            }
            let chunk = timeout(DEADLINE, self.answer.chunk()).await.expect("a line comes");
            self.rest.extend_from_slice(&chunk.unwrap()?);
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.len() > 1 {
                    self.arrived.push_back(serde_json::from_slice(&line).unwrap());
                }
            }
        }
    }

    /// Reads up to the next line with this message.
    async fn until(&mut self, message: &str) -> Value {
        loop {
            let line = self.next().await.unwrap_or_else(|| panic!("it ended before {message:?}"));
            if line["message"].as_str().is_some_and(|text| text.contains(message)) {
                return line;
            }
        }
    }
}

#[tokio::test]
async fn an_author_sees_what_a_pipeline_logs_and_why_its_runs_fail() {
    let server = logging(&[]).await;
    let said = say(&server, "logger", "one\n\u{1b}[31mtwo").await;
    let lines = kept(&server, "logger/logs").await;
    let levels: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["trace", "debug", "info", "warn", "error"], "the server logs warnings");
    for (n, line) in lines.iter().enumerate() {
        assert_eq!(line["message"], "one\\n\\u{1b}[31mtwo");
        assert_eq!(line["fields"], format!("[(\"n\", \"{n}\")]"));
        assert_eq!((&line["by"], &line["tenant"]), (&json!("guest"), &Value::Null));
        assert_eq!(line["request_id"], said.header("x-request-id"));
        assert_eq!(line["revision"], revision(&said));
    }
    // Not granted to log, and seen all the same.
    let trapped = ask(&server.client, "trap", &json!({})).await;
    trapped.assert_problem(500, "pipeline-trapped");
    let lines = kept(&server, "trap/logs").await;
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["by"], &line["level"]), (&json!("host"), &json!("error")));
    assert_eq!(line["request_id"], trapped.header("x-request-id"));
    assert!(line["message"].as_str().unwrap().contains("trapped: wasm trap"), "{line}");

    say(&server, "logger", "three").await;
    for (query, expected) in [
        ("logger/logs?level=error&lines=1", &["three"][..]),
        ("logger/logs?lines=2", &["three", "three"]),
        ("logger/logs?lines=0", &[]),
        ("logger/logs?level=error&follow=false", &["one\\n\\u{1b}[31mtwo", "three"]),
    ] {
        assert_eq!(messages(&kept(&server, query).await), expected, "{query}");
    }
    let all = kept(&server, "logger/logs").await;
    let after = format!("logger/logs?after={}", all[4]["id"]);
    assert_eq!(kept(&server, &after).await, all[5..]);
}

#[tokio::test]
async fn what_cannot_be_shown_is_refused() {
    let server = logging(&[]).await;
    let token = server.admin_token();
    for (query, status, code) in [
        ("none/logs", 404, "unknown-deployment"),
        ("No-Name/logs", 400, "invalid-name"),
        ("logger/logs?lines=1001", 400, "invalid-request"),
        ("logger/logs?lines=-1", 400, "invalid-request"),
        ("logger/logs?level=fatal", 400, "invalid-request"),
        ("logger/logs?follow=perhaps", 400, "invalid-request"),
        ("logger/logs?since=yesterday", 400, "invalid-request"),
        ("logger/logs?tenant=nobody", 404, "unknown-tenant"),
    ] {
        get_logs(&server, &token, query).await.assert_problem(status, code);
    }
    let policy = get_logs(&server, &token, "default/logs").await;
    policy.assert_problem(404, "unknown-deployment");
    assert!(policy.text().contains("Policies import nothing"), "{}", policy.text());
    command(&server, &["logs", "default"]).await.assert_refused(&["Policies import nothing"]);

    // One token leaves some of the followers to others, and gives back what it had.
    let mut followed = Vec::new();
    let refused = loop {
        let path = "/admin/v1/pipelines/logger/logs?follow";
        let request = server.admin.request("GET", path).bearer_auth(&token);
        let answer = request.send().await.unwrap();
        if answer.status() != 200 {
            break answer;
        }
        followed.push(answer);
    };
    assert_eq!((refused.status().as_u16(), followed.len()), (503, 16));
    let other = server.administer("tokens", &json!({ "name": "ci", "scopes": ["read"] })).await;
    let other = other.json()["token"].as_str().unwrap().to_owned();
    Followed::start(&server, &other, "logger/logs?").await;
    drop(followed);
    eventually("whoever has left makes room", async || {
        let path = "/admin/v1/pipelines/logger/logs?follow";
        let request = server.admin.request("GET", path).bearer_auth(&token);
        (request.send().await.unwrap().status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_follows_sees_the_lines_of_the_next_revision_and_the_end() {
    let mut server = logging(&[]).await;
    let digest = Author::new().push(&server, "pipeline", &guest("logger"), GRANTED).await;
    let first = deploy(&server, "pipelines", "new", &json!({ "digest": digest })).await;
    say(&server, "new", "before").await;
    let token = server.admin_token();
    let mut new = Followed::start(&server, &token, "new/logs?level=error&").await;
    let mut logger = Followed::start(&server, &token, "logger/logs?").await;
    assert_eq!(new.until("before").await["revision"], first);
    say(&server, "new", "live").await;
    assert_eq!(new.next().await.unwrap()["message"], "live");
    let second = deploy(&server, "pipelines", "new", &json!({ "digest": digest })).await;
    assert!(second > first);
    say(&server, "new", "swapped").await;
    let line = new.next().await.unwrap();
    assert_eq!((&line["message"], &line["revision"]), (&json!("swapped"), &json!(second)));

    let undeploy = server.admin.request("DELETE", "/admin/v1/pipelines/new").bearer_auth(&token);
    Answer::to(undeploy).await.assert_status(200);
    assert_eq!(new.next().await, Some(json!({ "ended": "undeployed" })));
    assert_eq!(new.next().await, None);
    get_logs(&server, &token, "new/logs").await.assert_problem(404, "unknown-deployment");

    say(&server, "logger", "last").await;
    logger.until("last").await;
    server.sigterm();
    while let Some(line) = logger.next().await {
        assert!(line["message"] == "last" || line == json!({ "ended": "shutting-down" }), "{line}");
    }
    assert!(server.wait().await.success(), "nobody who follows holds up a drain");
}

#[tokio::test]
async fn a_tenants_token_shows_that_tenants_lines_and_no_others() {
    let server = logging(&["acme", "globex"]).await;
    let body = json!({ "name": "ci", "scopes": ["read"], "tenants": ["acme"] });
    let token = server.administer("tokens", &body).await.json()["token"].clone();
    let token = token.as_str().unwrap();
    let mut acme = Followed::start(&server, token, "logger/logs?tenant=acme&level=error&").await;
    say_for(&server, "globex", &json!({ "say": ["secret"] })).await;
    say_for(&server, "acme", &json!({ "say": ["own"] })).await;
    // A flood of one pushes out no lines of the other.
    say_for(&server, "globex", &json!({ "flood": 2_000 })).await;
    let line = acme.next().await.unwrap();
    assert_eq!((&line["message"], &line["tenant"]), (&json!("own"), &json!("acme")));
    let own = get_logs(&server, token, "logger/logs?tenant=acme&lines=1000").await;
    own.assert_status(200);
    assert_eq!(own.text().matches("\"own\"").count(), 5);
    assert!(!own.text().contains("globex") && !own.text().contains("secret"), "{}", own.text());
    for query in ["logger/logs", "logger/logs?tenant=globex", "default/logs", "none/logs"] {
        get_logs(&server, token, query).await.assert_problem(403, "token-scope");
    }
    let policy = get_logs(&server, token, "default/logs?tenant=acme").await;
    policy.assert_problem(404, "unknown-deployment");
    assert!(!policy.text().contains("policy"), "{}", policy.text());
    let all = kept(&server, "logger/logs?lines=1000").await;
    let tenants: Vec<_> = all.iter().map(|line| line["tenant"].as_str().unwrap()).collect();
    assert!(tenants.contains(&"acme") && tenants.contains(&"globex"), "{tenants:?}");
}

/// Follows over HTTP/2 with a window of a few bytes, so that nothing is read that is not asked for.
#[tokio::test]
async fn whoever_reads_slowly_is_told_what_is_lost_and_holds_nobody_up() {
    let server = logging(&[]).await;
    let address = server.admin_url().strip_prefix("http://").unwrap().to_owned();
    let stream = TcpStream::connect(&address).await.unwrap();
    let client = Builder::new().initial_window_size(1_024).handshake::<_, Bytes>(stream);
    let (sender, connection) = client.await.unwrap();
    let connection = tokio::spawn(connection);
    let request =
        http::Request::get(format!("http://{address}/admin/v1/pipelines/logger/logs?follow"))
            .header("authorization", format!("Bearer {}", server.admin_token()))
            .body(())
            .unwrap();
    let (answer, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
    let mut body = answer.await.unwrap().into_body();

    // More than the ring, the window and what is on its way together hold.
    let flooded = ask(&server.client, "logger", &json!({ "flood": 700 })).await;
    flooded.assert_status(200);
    let lines = kept(&server, "logger/logs?lines=1000").await;
    assert!(lines.len() < 300, "the ring is full: {}", lines.len());

    let (mut read, mut lost, mut text) = (0, 0, Vec::new());
    while read + lost < 700 {
        let data = timeout(DEADLINE, body.data()).await.expect("there is more").unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        for byte in data {
            text.push(byte);
            if byte == b'\n' {
                let line: Value = match &text[..] {
                    b"\n" => Value::Null,
                    line => serde_json::from_slice(line).unwrap(),
                };
                read += u64::from(line["id"].is_u64());
                lost += line["lost"].as_u64().unwrap_or(0);
                text.clear();
            }
        }
    }
    assert!(lost > 100 && read > 100 && read + lost == 700, "{read} read, {lost} lost");
    say(&server, "logger", "after").await;
    drop(body);
    connection.abort();
}

/// `weir plugin logs --follow`, and what it says.
struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Lines<BufReader<ChildStderr>>,
}

impl Following {
    fn start(server: &Server, address: &str) -> Self {
        let token = server.admin_token_file();
        let url = format!("http://{address}");
        let mut command = Command::new(binary());
        command.args(["plugin", "logs", "logger", "-f", "--level", "error", "--url", &url]);
        command.arg("--token-file").arg(token).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines, said }
    }

    async fn prints(&mut self, text: &str) {
        let line = timeout(DEADLINE, self.lines.next_line()).await.expect("it prints a line");
        let line = line.unwrap().expect("it has not ended");
        assert!(line.contains(text), "{line}");
    }

    async fn says(&mut self, text: &str) {
        loop {
            let line = timeout(DEADLINE, self.said.next_line()).await.expect("it says something");
            if line.unwrap().expect("it has not ended").contains(text) {
                return;
            }
        }
    }
}

#[tokio::test]
async fn the_command_shows_lines_and_goes_on_after_a_cut_until_it_is_ended() {
    let server = logging(&[]).await;
    say(&server, "logger", "one").await;
    let shown = command(&server, &["logs", "logger", "--level", "warn", "--lines", "2"]).await;
    let lines: Vec<_> = shown.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{shown:?}");
    assert!(lines[0].contains(" WARN  one [(\"n\", \"3\")] (revision "), "{}", lines[0]);
    let shown = command(&server, &["logs", "logger", "--json"]).await;
    assert_eq!(shown.stdout.lines().count(), 5, "{shown:?}");
    let first: Value = serde_json::from_str(shown.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["level"], &first["message"]), (&json!("trace"), &json!("one")));

    let admin = server.admin_url().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = Proxy::start(admin).await;
    let mut following = Following::start(&server, &proxy.address().to_string());
    following.prints(" ERROR one").await;
    say(&server, "logger", "two").await;
    following.prints(" ERROR two").await;
    proxy.set(Fault::Reset);
    following.says("the connection was cut; connecting again").await;
    following.says("trying again until Ctrl-C").await;
    say(&server, "logger", "meanwhile").await;
    proxy.set(Fault::None);
    following.says("connected again").await;
    following.prints(" ERROR meanwhile").await;
    say(&server, "logger", "three").await;
    following.prints(" ERROR three").await;
    let id = following.child.id().unwrap().cast_signed();
    // SAFETY: the call accesses no memory. The child has not been waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    let status = timeout(DEADLINE, following.child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}
