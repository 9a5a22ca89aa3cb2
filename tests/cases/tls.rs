//! TLS on both listeners: who is spoken to and how, certificates that are replaced while requests are
//! served, and what becomes of clients that stall or speak something else.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use weir_test_redis::Certificates;

use crate::harness::{
    Answer, Client, Config, Raw, Server, Version, eventually, plugin, secure, weir,
};

const ECHO: &str = "/v1/pipelines/echo";
const FAILURES: &str = "weir_tls_handshake_failures_total";
const RELOADS: &str = "weir_tls_reloads_total";
/// The beginning of a client's first record, which promises more.
const BEGUN: [u8; 5] = [0x16, 0x03, 0x01, 0x02, 0x00];

async fn server(certificates: &Certificates, configure: impl FnOnce(&mut Config)) -> Server {
    Server::secured(certificates, |config| {
        config.pipeline("echo", &plugin("echo"), &[]);
        configure(config);
    })
    .await
}

async fn failures(server: &Server, reason: &str) -> f64 {
    server.client.metric(FAILURES, &[("listener", "public"), ("reason", reason)]).await
}

/// Connects as a client that trusts these certificates.
async fn connect(server: &Server, certificates: &Certificates) -> TlsStream<TcpStream> {
    let authority = certificates.authority();
    secure(server.address, &authority, Version::Tls13, &["http/1.1"]).await.unwrap()
}

/// The certificate that a new connection gets.
async fn served(server: &Server, certificates: &Certificates) -> Vec<u8> {
    let stream = connect(server, certificates).await;
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

/// Replaces both files, as a program does that renews certificates.
fn replace(certificates: &Certificates, (certificate, key): (String, String)) {
    for (path, text) in [(certificates.certificate(), certificate), (certificates.key(), key)] {
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::set_permissions(&next, Permissions::from_mode(0o600)).unwrap();
        fs::rename(next, path).unwrap();
    }
}

/// Waits until a new connection gets another certificate than `before`.
async fn replaced(server: &Server, certificates: &Certificates, before: &[u8]) -> Vec<u8> {
    eventually("another certificate is used", async || {
        let now = served(server, certificates).await;
        (now != before).then_some(now)
    })
    .await
}

/// Certificates for the addresses that the tests connect to.
fn certificates() -> Certificates {
    Certificates::of(&["localhost", "127.0.0.1"])
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_spoken() {
    let certificates = certificates();
    let server = server(&certificates, |_| {}).await;
    for version in [Version::Tls12, Version::Tls13] {
        for (protocols, chosen) in
            [(&["h2", "http/1.1"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
        {
            let authority = certificates.authority();
            let stream = secure(server.address, &authority, version, protocols).await.unwrap();
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.alpn_protocol(), chosen.map(str::as_bytes), "{version:?}");
        }
        let authority = certificates.authority();
        let mut stream = secure(server.address, &authority, version, &["http/1.1"]).await.unwrap();
        let answer = get(&mut stream, "/health/liveness").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{version:?}: {answer}");
    }
    // What a client library chooses by itself.
    let response = server.client.request("GET", "/health/liveness").send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    // Many at once on one connection.
    let ask = |n: usize| {
        let client = server.client.clone();
        async move { client.post(ECHO, &json!({ "n": n })).await }
    };
    for (n, answer) in join_all((0..200).map(ask)).await.into_iter().enumerate() {
        assert_eq!(answer.text(), format!("{{\"n\":{n}}}"));
    }
    let expires = server.client.metric("weir_tls_certificate_expiry_timestamp_seconds", &[]).await;
    // Of both listeners: rcgen's certificates end with the year 4095.
    assert_eq!(expires, 2.0 * 67_090_118_400.0);
}

/// Asks for `path` on a connection that goes on, and reads the answer's head and what comes with it.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "closed after {bytes:?}");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn who_does_not_trust_the_certificate_is_counted_apart() {
    let (certificates, others) = (certificates(), certificates());
    let server = server(&certificates, |_| {}).await;
    let refused = Client::trusting(server.address, &others.authority());
    let request = refused.request("GET", "/health/liveness");
    assert!(Answer::try_to(request).await.is_err_and(|error| error.is_connect()));
    eventually("the failure is counted", async || {
        (failures(&server, "by-client").await == 1.0).then_some(())
    })
    .await;
    let other =
        secure(server.address, &certificates.authority(), Version::Tls13, &["spdy/3"]).await;
    assert!(other.is_err());
    eventually("the failure is counted", async || {
        (failures(&server, "incompatible").await == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_certificate_is_replaced_under_load_without_losing_a_request() {
    let certificates = certificates();
    let server = server(&certificates, |_| {}).await;
    let mut old = connect(&server, &certificates).await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, asked) = (server.client.clone(), stop.clone(), asked.clone());
            let anew = Client::trusting_anew(server.address, &certificates.authority());
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    anew.get("/health/liveness").await.assert_status(200);
                    client.post(ECHO, &json!({})).await.assert_status(200);
                    asked.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    let mut now = served(&server, &certificates).await;
    for _ in 0..3 {
        replace(&certificates, certificates.issue());
        now = replaced(&server, &certificates, &now).await;
        let so_far = asked.load(SeqCst);
        eventually("the load goes on", async || (asked.load(SeqCst) > so_far + 8).then_some(()))
            .await;
    }
    stop.store(true, SeqCst);
    for asker in askers {
        asker.await.unwrap();
    }
    // A connection that exists goes on with what it began with.
    let answer = get(&mut old, "/health/liveness").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let loaded = [("listener", "public"), ("outcome", "loaded")];
    assert_eq!(server.client.metric(RELOADS, &loaded).await, 3.0);
    assert_eq!(server.client.metric(RELOADS, &[("outcome", "refused")]).await, 0.0);
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_leaves_the_old_one() {
    let certificates = certificates();
    let server = server(&certificates, |_| {}).await;
    let before = served(&server, &certificates).await;
    let (certificate, key) = certificates.issue();
    let (_, other_key) = certificates.issue();
    let refused = [("listener", "public"), ("outcome", "refused")];
    for (count, (certificate, key), said) in [
        (1.0, (&certificate, &other_key), "is not that of the first certificate in"),
        (2.0, (&certificate, &certificate), "has no private key in PEM format"),
        (3.0, (&key, &key), "has no certificate in PEM format"),
    ] {
        replace(&certificates, (certificate.clone(), key.clone()));
        server.logged(said).await;
        eventually("it is counted", async || {
            (server.client.metric(RELOADS, &refused).await == count).then_some(())
        })
        .await;
        assert_eq!(served(&server, &certificates).await, before, "{said}");
    }
    fs::write(certificates.certificate(), &certificate).unwrap();
    fs::remove_file(certificates.key()).unwrap();
    server.logged("key.pem cannot be read").await;
    assert_eq!(served(&server, &certificates).await, before);
    replace(&certificates, (certificate, key));
    replaced(&server, &certificates, &before).await;
}

#[tokio::test]
async fn whoever_stalls_in_the_handshake_holds_nobody_up() {
    let certificates = certificates();
    let server = server(&certificates, |config| {
        config.set("server.tls.handshake_timeout_ms", 4_000).set("server.max_connections", 64);
    })
    .await;
    let mut stalled = Vec::new();
    for begun in [&b""[..], &BEGUN, &BEGUN[..1]] {
        for _ in 0..30 {
            let mut raw = Raw::connect_from(2, server.address).await;
            // The server closes what is more than the client's share.
            let _ = raw.try_send(begun).await;
            stalled.push(raw);
        }
    }
    // While they stall: others have their share.
    let anew = Client::trusting_anew(server.address, &certificates.authority());
    for _ in 0..20 {
        anew.get("/health/liveness").await.assert_status(200);
    }
    let refused = server.client.metric("weir_connections_refused_total", &[]).await;
    assert!(refused >= 90.0 - 64.0, "{refused}");
    for raw in &mut stalled {
        raw.closed().await;
    }
    eventually("each is counted, as refused or as too slow", async || {
        let refused = server.client.metric("weir_connections_refused_total", &[]).await;
        (refused + failures(&server, "timed-out").await == 90.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_not_tls_is_explained_or_closed() {
    let certificates = certificates();
    let server = server(&certificates, |_| {}).await;
    for request in ["GET / HTTP/1.1\r\nhost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut raw = Raw::connect(server.address).await;
        raw.send(request).await;
        let (head, body) = raw.answer().await;
        assert!(head.starts_with("http/1.1 400 "), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("begin the URL with 'https://'"), "{body}");
        assert!(raw.closed().await.is_empty());
    }
    let mut garbage = Raw::connect(server.address).await;
    garbage.send([0; 64]).await;
    garbage.closed().await;
    drop(Raw::connect(server.address).await);
    eventually("each is counted by its reason", async || {
        let mut counts = [0.0; 3];
        for (count, reason) in counts.iter_mut().zip(["plain-http", "invalid", "closed"]) {
            *count = failures(&server, reason).await;
        }
        (counts == [2.0, 1.0, 1.0]).then_some(())
    })
    .await;
    server.client.get("/health/liveness").await.assert_status(200);
}

#[tokio::test]
async fn a_drain_ends_handshakes_and_answers_what_was_asked() {
    let certificates = certificates();
    let mut server = server(&certificates, |config| {
        config.set("server.tls.handshake_timeout_ms", 60_000);
    })
    .await;
    let mut stalled = Raw::connect(server.address).await;
    stalled.send(BEGUN).await;
    stalled.taken().await;
    let mut begun = connect(&server, &certificates).await;
    let head = format!(
        "POST {ECHO} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    begun.write_all(head.as_bytes()).await.unwrap();
    let mut said = vec![0; 25];
    begun.read_exact(&mut said).await.unwrap();
    assert_eq!(said, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.sigterm();
    stalled.closed().await;
    begun.write_all(b"{}").await.unwrap();
    let mut answer = Vec::new();
    begun.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    assert!(server.wait().await.success());
    assert!(!server.log().contains("the drain timed out"), "{}", server.log());
}

#[tokio::test]
async fn an_admin_listener_that_others_reach_needs_tls() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let ended = Server::refused(|config| {
            config.set("admin.listen", listen);
        });
        ended.await.assert_refused(&["admin.listen: other machines reach", "admin.tls.key_file"]);
    }
    let certificates = certificates();
    let server = server(&certificates, |config| {
        config.set("admin.listen", "0.0.0.0:0");
    })
    .await;
    let file = server.folder().join("weir.toml");
    let file = file.to_str().unwrap();
    // What is given on the command line is not in the file.
    let local = Config::new(server.folder()).toml();
    let plain = server.folder().join("plain.toml");
    fs::write(&plain, local).unwrap();
    let plain = plain.to_str().unwrap();
    let ended = weir(&["serve", "--config", plain, "--admin-listen", "0.0.0.0:0"]).await;
    ended.assert_refused(&["--admin-listen: ", "other machines reach 0.0.0.0:0"]);
    // The command line trusts whom it is told to.
    let url = server.admin_url().replace("0.0.0.0", "127.0.0.1");
    let authority = certificates.authority();
    let authority = authority.to_str().unwrap();
    let stats = ["cache", "--config", file, "--url", &url];
    let told = weir(&[&stats[..], &["--ca-file", authority, "stats"]].concat()).await;
    assert!(told.success, "{told:?}");
    let ended = weir(&[&stats[..], &["stats"]].concat()).await;
    ended.assert_refused(&["--ca-file", "is not trusted"]);
    let named = certificates.key();
    let wrong = ["--ca-file", named.to_str().unwrap(), "stats"];
    weir(&[&stats[..], &wrong].concat()).await.assert_refused(&["has no certificate"]);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    let (certificates, others) = (certificates(), certificates());
    let path = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (certificate, key) = (path(certificates.certificate()), path(certificates.key()));
    for (keys, says) in [
        (
            vec![("certificate_file", certificate.clone()), ("key_file", path(others.key()))],
            ["[server.tls]", "is not that of the first certificate"],
        ),
        (
            vec![("certificate_file", "/nowhere".to_owned()), ("key_file", key.clone())],
            ["[server.tls]", "/nowhere cannot be read"],
        ),
        (
            vec![("certificate_file", certificate.clone())],
            ["server.tls.key_file: name the file", "the key of certificate_file"],
        ),
        (
            vec![("key_file", key.clone())],
            ["server.tls.certificate_file: name the file", "the certificate of key_file"],
        ),
    ] {
        let ended = Server::refused(|config| {
            for (key, value) in &keys {
                config.set(&format!("server.tls.{key}"), value.clone());
            }
        });
        ended.await.assert_refused(&says);
    }
    fs::set_permissions(certificates.key(), Permissions::from_mode(0o644)).unwrap();
    let server = server(&certificates, |_| {}).await;
    server.logged("every user of this machine can read the private key").await;
}
