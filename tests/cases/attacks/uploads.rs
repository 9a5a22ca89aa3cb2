//! Uploads of plugins that take long to compile, or much memory, that arrive slowly, or that are none. Whoever has a
//! token is trusted with what is served, and not with the time of others.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use weir_test_components::{bomb, with_manifest};

use super::super::asking::ask;
use super::{ATTACKER, while_attacked};
use crate::harness::{Answer, Config, Raw, Server, plugin};

const MANIFEST: &str = include_str!("../../guests/adjustable/plugin.toml");
const BODY_TIMEOUT: Duration = Duration::from_millis(500);
const COMPILE_TIMEOUT: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

async fn with(configure: impl FnOnce(&mut Config)) -> Server {
    Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
        configure(config);
    })
    .await
}

async fn assert_served(server: &Server) {
    let request = json!({ "still": "there" });
    assert_eq!(ask(&server.client, "echo", &request).await.json(), request);
}

async fn upload(server: &Server, bytes: Vec<u8>) -> Answer {
    let request = server.admin.request("POST", "/admin/v1/plugins");
    Answer::to(request.bearer_auth(server.admin_token()).body(bytes)).await
}

async fn assert_nothing_is_stored(server: &Server) {
    let request = server.admin.request("GET", "/admin/v1/plugins");
    let listed = Answer::to(request.bearer_auth(server.admin_token())).await;
    assert_eq!(listed.json(), json!({ "plugins": [] }));
}

/// A connection on which an upload has begun, with these headers.
async fn begun(server: &Server, headers: &str) -> Raw {
    let address = server.admin_url().strip_prefix("http://").unwrap().parse().unwrap();
    let mut raw = Raw::connect_from(ATTACKER, address).await;
    let token = server.admin_token();
    let head = format!(
        "POST /admin/v1/plugins HTTP/1.1\r\nhost: weir\r\nauthorization: Bearer {token}\r\n{headers}\r\n\r\n"
    );
    raw.send(head).await;
    raw
}

async fn assert_refused(raw: &mut Raw, status: &str, code: &str) {
    let (head, body) = raw.answer().await;
    let body = String::from_utf8(body).unwrap();
    assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
    assert!(body.contains(code), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_long_to_compile_is_ended_and_others_are_answered() {
    let server = with(|config| {
        config.set("engine.compile.timeout_ms", COMPILE_TIMEOUT.as_millis() as i64);
    })
    .await;
    let began = Instant::now();
    let bomb = with_manifest(&bomb(20_000, 128), MANIFEST);
    let refused = while_attacked(upload(&server, bomb), async || assert_served(&server).await);
    let refused = refused.await;
    refused.assert_problem(422, "invalid-plugin");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("takes too long to compile"), "{detail}");
    assert!(began.elapsed() >= COMPILE_TIMEOUT);
    assert_nothing_is_stored(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_much_memory_to_compile_is_ended_and_others_are_answered() {
    let server = with(|config| {
        config
            .set("engine.compile.max_memory_bytes", 256 * MIB as i64)
            .set("engine.compile.timeout_ms", 600_000);
    })
    .await;
    let bomb = with_manifest(&bomb(1, 600_000), MANIFEST);
    let refused = while_attacked(upload(&server, bomb), async || assert_served(&server).await);
    let refused = refused.await;
    refused.assert_problem(422, "invalid-plugin");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("takes too much memory to compile"), "{detail}");
    assert_nothing_is_stored(&server).await;
}

#[tokio::test]
async fn uploads_that_drip_end_at_their_timeout() {
    let server = with(|config| {
        config.set("server.body_timeout_ms", BODY_TIMEOUT.as_millis() as i64);
    })
    .await;
    let attackers = (0..8).map(|_| async {
        let mut raw = begun(&server, "content-length: 1000000").await;
        raw.drip(b' ').await;
        assert_refused(&mut raw, "408", "body-timeout").await;
    });
    while_attacked(join_all(attackers), async || assert_served(&server).await).await;
    // There is room for the next one.
    let plugin = with_manifest(&std::fs::read(plugin("echo")).unwrap(), MANIFEST);
    upload(&server, plugin).await.assert_status(201);
}

#[tokio::test]
async fn a_plugin_that_is_too_large_is_refused_when_it_says_so_and_when_it_arrives() {
    let server = with(|_| {}).await;
    let mut announced = begun(&server, &format!("content-length: {}", 100 * MIB)).await;
    assert_refused(&mut announced, "413", "too-large").await;

    let mut arriving = begun(&server, "transfer-encoding: chunked").await;
    let chunk = [format!("{MIB:x}\r\n").as_bytes(), &vec![b' '; MIB], b"\r\n"].concat();
    for _ in 0..100 {
        if arriving.try_send(&chunk).await.is_err() {
            break;
        }
    }
    assert_refused(&mut arriving, "413", "too-large").await;
    assert_served(&server).await;
    assert_nothing_is_stored(&server).await;
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_and_others_are_answered() {
    let server = with(|_| {}).await;
    let small = bomb(10, 10);
    let whole = with_manifest(&small, MANIFEST);
    let mut damaged = whole.clone();
    damaged[8..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0x55);
    let attack = async {
        for (what, bytes, code) in [
            ("nothing", Vec::new(), "not-allowed"),
            ("a module under the name of a component", b"\0asm\x01\0\0\0".to_vec(), "not-allowed"),
            ("half of one", whole[..whole.len() / 2].to_vec(), "not-allowed"),
            ("one whose bytes are damaged", damaged, "invalid-plugin"),
            ("one without a manifest", small, "invalid-plugin"),
            ("one that exports nothing", whole, "invalid-plugin"),
        ] {
            let refused = upload(&server, bytes).await;
            assert_eq!(refused.json()["code"], code, "{what}: {}", refused.text());
            refused.assert_problem(422, code);
        }
    };
    while_attacked(attack, async || assert_served(&server).await).await;
    assert_nothing_is_stored(&server).await;
}
