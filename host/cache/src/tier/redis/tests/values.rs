//! Whatever is in Redis is at most a miss, with its reason.

use super::*;
use crate::encoding::DecodeError;
use crate::entry::Moment;
use crate::envelope::OpenError;

/// An envelope as a node of this truth writes it.
fn ours(number: u8, value: &[u8]) -> Vec<u8> {
    let content = record(value).encode(Moment::now(), 4 * MAX_ENTRY_BYTES).unwrap();
    seal(1).close(&key(number), &content)
}

#[tokio::test]
async fn what_no_node_of_this_truth_wrote_for_the_key_is_a_miss() {
    let redis = RedisServer::start();
    let tier = Tier::over(&config(redis.port())).await;
    let version = |version: u8| {
        let mut envelope = ours(1, b"value");
        envelope[4] = version;
        envelope
    };
    let whole = ours(1, b"value");
    let huge = |bytes| {
        let mut huge = whole.clone();
        huge.resize(bytes, 7);
        huge
    };
    let too_large =
        |bytes| Miss::Envelope(OpenError::TooLarge { bytes, max_bytes: MAX_ENTRY_BYTES });
    let not_an_envelope = Miss::Envelope(OpenError::NotAnEnvelope);
    let zeros = vec![0; 3 * MAX_ENTRY_BYTES];
    for (what, bytes, expected) in [
        ("garbage", b"garbage".to_vec(), not_an_envelope),
        ("much garbage", vec![0xff; 4 * MAX_ENTRY_BYTES], not_an_envelope),
        ("an older version", version(2), Miss::Envelope(OpenError::Version { found: 2 })),
        ("a newer version", version(4), Miss::Envelope(OpenError::Version { found: 4 })),
        ("another truth's", seal(2).close(&key(1), b""), Miss::Envelope(OpenError::OtherTruth)),
        ("another key's", ours(2, b"value"), Miss::Envelope(OpenError::OtherKey)),
        ("truncated", whole[..whole.len() - 1].to_vec(), Miss::Envelope(OpenError::Forged)),
        ("longer", huge(whole.len() + 1), Miss::Envelope(OpenError::Forged)),
        // Of 8 MiB, only what is needed to see that is read.
        ("huge", huge(8 * MAX_ENTRY_BYTES), too_large(MAX_ENTRY_BYTES + 1)),
        ("a bomb", seal(1).close(&key(1), &zeros), too_large(zeros.len())),
        (
            "no record",
            seal(1).close(&key(1), b"no record"),
            Miss::Record(DecodeError::Format { found: *b"no r" }),
        ),
        ("nothing", Vec::new(), Miss::Absent),
    ] {
        redis.set(&name(1), &bytes);
        assert_eq!(tier.look_up(1).await.unwrap_err(), expected, "{what}");
    }
    redis.set(&name(1), &whole);
    assert_eq!(tier.look_up(1).await.unwrap(), b"value");
}

#[tokio::test]
async fn a_value_of_another_type_is_a_miss_and_no_outage() {
    let redis = RedisServer::start();
    let tier = Tier::over(&config(redis.port())).await;
    redis.run(&["LPUSH", &name(1), "a list"]);
    for _ in 0..50 {
        assert_eq!(tier.look_up(1).await.unwrap_err(), Miss::Failed);
    }
    assert!(matches!(tier.store.get(&key(1)).await, Err(StoreError::Refused(_))));
    // The breaker has not opened, and the next write replaces the list.
    tier.works(1).await;
}

#[tokio::test]
async fn keys_begin_with_the_prefix() {
    let redis = RedisServer::start();
    let other = RedisConfig { key_prefix: "other:".to_owned(), ..config(redis.port()) };
    let (ours, others) = (store(&config(redis.port())).await, store(&other).await);
    ours.put(vec![envelope(1, b"ours")]).await.unwrap();
    assert_eq!(others.get(&key(1)).await.unwrap(), None);
    others.put(vec![envelope(1, b"others")]).await.unwrap();
    assert_eq!(ours.get(&key(1)).await.unwrap().as_deref(), Some(&b"ours"[..]));
    let database = RedisConfig { database: 3, ..config(redis.port()) };
    assert_eq!(store(&database).await.get(&key(1)).await.unwrap(), None);
}
