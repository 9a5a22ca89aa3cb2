//! A Redis as the shared tier that is gone, stops, refuses, lies or is secured: clients notice nothing but
//! misses.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use weir_test_redis::{Certificates, RedisServer};

use super::tier::Tier;
use super::{ask_stored, ended, is_shared_hit, lookups, question, restarted, server};
use crate::cases::asking::{STORED, ask, assert_via};
use crate::harness::{Client, Config, Server, document, eventually, weir};

/// Within this time after Redis is back, it is used again.
const BACK_WITHIN: Duration = Duration::from_secs(5);
const SECRET: &str = "correct-horse-battery-staple";

fn address(redis: &RedisServer) -> Vec<String> {
    vec![redis.address().to_string()]
}

/// A server that keeps answers in Redis only, with a collection `docs`.
async fn only_in_redis(configure: impl FnOnce(&mut Config)) -> Server {
    let server = Server::with(|config| {
        config.search().set("cache.memory_bytes", 0).set("cache.shared.backend", "redis");
        configure(config);
    })
    .await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("bread", "Bread is made of flour.")]).await;
    server
}

/// Asks until the answer comes from Redis, and returns how long that took. All answers are answers.
async fn hits_again(client: &Client) -> Duration {
    let started = Instant::now();
    eventually("a shared hit", async || {
        let answer = ask(client, "search", &question("docs")).await;
        is_shared_hit(&answer).then_some(())
    })
    .await;
    started.elapsed()
}

/// What the server says of its Redis.
async fn state(client: &Client) -> String {
    let services = client.get("/health/services").await.json();
    let [service] = services["services"].as_array().unwrap().as_slice() else {
        panic!("{services}")
    };
    assert_eq!(
        (&service["service"], &service["backend"]),
        (&json!("shared-tier"), &json!("redis"))
    );
    service["state"].as_str().unwrap().to_owned()
}

async fn works_again(client: &Client) {
    eventually("its guard is closed", async || {
        ask(client, "search", &question("docs")).await.assert_status(200);
        (state(client).await == "closed").then_some(())
    })
    .await;
    let labels = [("service", "shared-tier"), ("backend", "redis"), ("state", "closed")];
    assert_eq!(client.metric("weir_guards", &labels).await, 1.0);
}

#[tokio::test]
async fn answers_go_on_while_redis_does_not() {
    let mut redis = RedisServer::start();
    let servers = address(&redis);
    let server = only_in_redis(|config| {
        config.set("cache.shared.redis.servers", servers);
    })
    .await;
    let client = &server.client;
    hits_again(client).await;
    let answers = async |what: &str| {
        for _ in 0..100 {
            let answer = ask(client, "search", &question("docs")).await;
            answer.assert_status(200);
            assert!(!is_shared_hit(&answer), "{what}: {answer:?}");
        }
    };
    assert_eq!(state(client).await, "closed");
    redis.stop();
    answers("stopped").await;
    assert_ne!(state(client).await, "closed");
    redis.go_on();
    let took = hits_again(client).await;
    assert!(took < BACK_WITHIN, "stopped: {took:?}");
    works_again(client).await;

    redis.kill();
    answers("killed").await;
    server.logged("Redis cannot be reached").await;
    redis.start_again();
    let took = hits_again(client).await;
    assert!(took < BACK_WITHIN, "killed: {took:?}");

    eventually("what was flushed is a miss", async || {
        // What was stored before may still be on its way.
        redis.run(&["FLUSHALL"]);
        let answer = ask(client, "search", &question("docs")).await;
        (answer.header("cache-status") == STORED).then_some(())
    })
    .await;
    hits_again(client).await;
    let failed = client.metric("weir_http_requests_total", &[("status", "5xx")]).await;
    assert_eq!(failed, 0.0);
}

#[tokio::test]
async fn it_is_known_that_redis_is_gone_before_anybody_needs_it() {
    let mut redis = RedisServer::start();
    let servers = address(&redis);
    let server = only_in_redis(|config| {
        config.set("cache.shared.redis.servers", servers);
    })
    .await;
    let becomes = async |expected: &str| {
        eventually(&format!("its guard is {expected}"), async || {
            (state(&server.client).await == expected).then_some(())
        })
        .await;
    };
    becomes("closed").await;
    redis.kill();
    becomes("open").await;
    redis.start_again();
    becomes("closed").await;
    redis.stop();
    becomes("open").await;
    redis.go_on();
    becomes("closed").await;
}

#[tokio::test]
async fn a_server_starts_without_redis_and_finds_it_later() {
    let mut redis = RedisServer::start();
    redis.kill();
    let servers = address(&redis);
    let server = only_in_redis(|config| {
        config.set("cache.shared.redis.servers", servers);
    })
    .await;
    assert_via(&ask(&server.client, "search", &question("docs")).await, STORED);
    server.logged("start it, or correct cache.shared.redis.servers").await;
    redis.start_again();
    let took = hits_again(&server.client).await;
    assert!(took < BACK_WITHIN, "{took:?}");
}

#[tokio::test]
async fn garbage_in_redis_is_a_miss() {
    let redis = RedisServer::start();
    let tier = Tier::Redis(redis);
    let (server, _) = server(&tier).await;
    let Tier::Redis(redis) = &tier else { unreachable!() };
    let server = restarted(server).await;
    let keys = redis.keys();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in &keys {
        redis.set(key, b"garbage");
    }
    ask_stored(&server.client, "docs").await;
    // Answers are stored in the background.
    eventually("one of them has been replaced", async || {
        keys.iter().any(|key| redis.get(key).unwrap() != b"garbage").then_some(())
    })
    .await;
    for key in &keys {
        redis.run(&["DEL", key]);
        redis.run(&["LPUSH", key, "garbage"]);
    }
    ask_stored(&server.client, "more").await;
    let counted =
        ["not-an-envelope", "failed", "hit"].map(|outcome| lookups(&server.client, outcome));
    assert_eq!(futures::future::join_all(counted).await, [1.0, 1.0, 0.0]);
    server.logged("set cache.shared.redis.key_prefix to one that nobody else uses").await;
    // What was stored has taken its place.
    let server = restarted(server).await;
    assert!(is_shared_hit(&ask(&server.client, "search", &question("more")).await));
}

#[tokio::test]
async fn redis_may_refuse_the_password_or_to_store() {
    let mut redis = RedisServer::with_password("another");
    let (servers, folder) = (address(&redis), tempfile::tempdir().unwrap());
    let file = folder.path().join("password");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let server = only_in_redis(|config| {
        config
            .set("cache.shared.redis.servers", servers)
            .set("cache.shared.redis.password_file", file.to_str().unwrap())
            .set("log.level", "trace");
    })
    .await;
    assert_via(&ask(&server.client, "search", &question("docs")).await, STORED);
    server.logged("the password in cache.shared.redis.password_file").await;
    redis.set_password(Some(SECRET));
    hits_again(&server.client).await;
    // What is new is not stored any more, and what is there is found.
    redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let other = json!({ "collection": "docs", "query": "bread", "mode": "keyword" });
    assert_via(&ask(&server.client, "search", &other).await, STORED);
    server.logged("set its maxmemory-policy to allkeys-lru").await;
    assert!(is_shared_hit(&ask(&server.client, "search", &question("docs")).await));
    assert!(!server.log().contains(SECRET));
}

#[tokio::test]
async fn a_connection_to_redis_can_be_secured() {
    let certificates = Certificates::make();
    let redis = RedisServer::with_tls(
        &certificates.certificate(),
        &certificates.key(),
        &certificates.authority(),
    );
    let (port, authority) = (redis.port(), certificates.authority());
    let mut server = only_in_redis(|config| {
        config
            .set("cache.shared.redis.servers", vec![format!("localhost:{port}")])
            .set("cache.shared.redis.tls", true)
            .set("cache.shared.redis.ca_file", authority.to_str().unwrap());
    })
    .await;
    hits_again(&server.client).await;
    ended(&mut server).await;
    redis.wait_for(&["INFO", "clients"], |said| said.contains("connected_clients:1\r"));
}

#[tokio::test]
async fn a_configuration_that_cannot_work_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let refused = async |key: &str, value: toml::Value, texts: &[&str]| {
        let configure = |config: &mut Config| {
            config
                .search()
                .set("cache.shared.backend", "redis")
                .set("cache.shared.redis.tls", true)
                .set(&format!("cache.shared.redis.{key}"), value.clone());
        };
        Server::refused(configure).await.assert_refused(texts);
        let mut config = Config::new(folder.path());
        configure(&mut config);
        let file = path("weir.toml");
        fs::write(&file, config.toml()).unwrap();
        let checked = weir(&["check", "--config", &file]).await;
        checked.assert_refused(&texts[..1]);
    };
    refused("password_file", path("missing").into(), &["missing"]).await;
    refused("password_file", path("empty").into(), &["empty", "must have one line"]).await;
    refused("ca_file", path("empty").into(), &["empty", "no certificate in PEM format"]).await;
    refused("servers", vec!["localhost"].into(), &["servers: 'localhost' is not HOST:PORT"]).await;
    refused("topology", "sentinel".into(), &["sentinel_primary: topology 'sentinel' needs"]).await;
    refused("connections", 51.into(), &["cache.shared.redis.connections = 51: must be 1 to 50"])
        .await;
}
