//! A Redis that refuses: the user, the certificate, or writes.

use weir_test_redis::Certificates;

use super::*;

fn refused(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::Refused(_)))
}

fn unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

#[tokio::test]
async fn a_wrong_password_is_no_error_but_finds_nothing_until_it_is_right() {
    let mut redis = RedisServer::with_password("right");
    let (_folder, wrong) = password_file("wrong");
    let without = store(&config(redis.port())).await;
    let with_wrong =
        store(&RedisConfig { password_file: Some(wrong), ..config(redis.port()) }).await;
    for store in [&without, &with_wrong] {
        assert!(unavailable(&store.get(&key(1)).await));
        assert!(unavailable(&store.put(vec![envelope(1, b"lost")]).await));
    }
    // Without another start.
    redis.set_password(Some("wrong"));
    eventually(async || with_wrong.get(&key(1)).await).await;
    redis.set_password(None);
    eventually(async || without.get(&key(1)).await).await;
}

#[tokio::test]
async fn a_user_needs_few_rights() {
    let redis = RedisServer::start();
    let (_folder, file) = password_file("secret");
    let of_user = |user: &str| RedisConfig {
        user: Some(user.to_owned()),
        password_file: Some(file.clone()),
        ..config(redis.port())
    };
    redis.run(&[
        "ACL",
        "SETUSER",
        "weir",
        "on",
        ">secret",
        "~weir:*",
        "+ping",
        "+getrange",
        "+set",
    ]);
    redis.run(&["ACL", "SETUSER", "other", "on", ">secret", "~other:*", "+@all"]);
    let store = store(&of_user("weir")).await;
    store.put(vec![envelope(1, b"ours")]).await.unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap().as_deref(), Some(&b"ours"[..]));
    let other = self::store(&of_user("other")).await;
    assert!(unavailable(&other.get(&key(1)).await));
    assert!(unavailable(&self::store(&of_user("unknown")).await.get(&key(1)).await));
}

#[tokio::test]
async fn a_replica_that_is_read_only_is_read() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    primary.set(&name(1), b"replicated");
    replica.replicate(&primary);
    let store = store(&config(replica.port())).await;
    assert_eq!(store.get(&key(1)).await.unwrap().as_deref(), Some(&b"replicated"[..]));
    assert!(refused(&store.put(vec![envelope(2, b"lost")]).await));
    let found = eventually(async || store.get(&key(1)).await).await;
    assert_eq!(found.as_deref(), Some(&b"replicated"[..]));
    // And written, when it has become a primary.
    replica.run(&["REPLICAOF", "NO", "ONE"]);
    eventually(async || store.put(vec![envelope(2, b"kept")]).await).await;
}

#[tokio::test]
async fn a_redis_that_is_full_is_read() {
    let redis = RedisServer::with(&["--maxmemory-policy", "noeviction"]);
    let tier = Tier::over(&config(redis.port())).await;
    tier.works(1).await;
    redis.run(&["CONFIG", "SET", "maxmemory", "1"]);
    for number in 10..30 {
        assert!(refused(&tier.store.put(vec![envelope(number, b"lost")]).await));
        tier.tier.put(key(number), record(b"lost"));
        assert_eq!(tier.look_up(1).await.unwrap(), [1; 100]);
    }
    redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    tier.works(2).await;
}

#[tokio::test]
async fn tls_needs_a_certificate_that_is_trusted() {
    let (ours, others) = (Certificates::make(), Certificates::make());
    let redis = RedisServer::with_tls(&ours.certificate(), &ours.key(), &ours.authority());
    let trusting = |host: &str, trust| RedisConfig {
        servers: vec![(host.to_owned(), redis.port())],
        tls: trust,
        ..config(redis.port())
    };
    let file = |certificates: &Certificates| Some(Trust::File(certificates.authority()));
    let store = store(&trusting("localhost", file(&ours))).await;
    store.put(vec![envelope(1, b"secured")]).await.unwrap();
    assert_eq!(store.get(&key(1)).await.unwrap().as_deref(), Some(&b"secured"[..]));
    for (what, config) in [
        ("another authority", trusting("localhost", file(&others))),
        ("the system's authorities", trusting("localhost", Some(Trust::System))),
        ("another name", trusting("127.0.0.1", file(&ours))),
        ("no TLS", trusting("localhost", None)),
    ] {
        let store = self::store(&config).await;
        assert!(unavailable(&store.get(&key(1)).await), "{what}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let no_certificate = folder.path().join("text");
    fs::write(&no_certificate, "no certificate").unwrap();
    let config = || config(1);
    for (config, expected) in [
        (
            RedisConfig { password_file: Some(missing.clone()), ..config() },
            "missing cannot be read",
        ),
        (
            RedisConfig { tls: Some(Trust::File(missing.clone())), ..config() },
            "missing cannot be used",
        ),
        (RedisConfig { tls: Some(Trust::File(no_certificate)), ..config() }, "has no certificate"),
    ] {
        let error = RedisStore::check(&config).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(RedisStore::start(&config).await.err().unwrap().to_string(), error);
    }
    RedisStore::check(&config()).unwrap();
}
