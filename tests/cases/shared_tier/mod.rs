//! The tier behind the memory tier: what is served from it after a restart, and what is not, whether it is
//! a file or a Redis.

mod redis;
mod tier;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use self::tier::{FILE, Tier};
use super::asking::{STORED, ask, assert_hit, assert_via, runs};
use super::histories::Copy;
use crate::harness::{Answer, Client, Config, Server, document, in_model};

const TRUTH: &str = "truth.sqlite";
const MODEL: &str = "all-MiniLM-L6-v2";

fn question(collection: &str) -> Value {
    json!({ "collection": collection, "query": "flour", "mode": "keyword" })
}

fn folder(server: &Server) -> PathBuf {
    server.folder().join("data/tenants/default")
}

/// A server with this shared tier, a collection `docs` and one `more`, and an answer about each in both
/// tiers.
async fn server(tier: &Tier) -> (Server, [Answer; 2]) {
    let server = Server::with(|config| tier.configure(config.search())).await;
    let client = &server.client;
    for collection in ["docs", "more"] {
        client.create(collection).await;
        client.ingest(collection, &[document("bread", "Bread is made of flour.")]).await;
    }
    let answers = [ask_stored(client, "docs").await, ask_stored(client, "more").await];
    (server, answers)
}

async fn ask_stored(client: &Client, collection: &str) -> Answer {
    let answer = ask(client, "search", &question(collection)).await;
    assert_via(&answer, STORED);
    answer
}

#[track_caller]
fn is_shared_hit(answer: &Answer) -> bool {
    answer.assert_status(200);
    let status = answer.header("cache-status");
    status.starts_with("weir; hit; ttl=") && status.ends_with("; detail=shared")
}

async fn lookups(client: &Client, outcome: &str) -> f64 {
    let labels = [("operation", "query"), ("outcome", outcome)];
    client.metric("weir_cache_shared_lookups_total", &labels).await
}

/// Two texts, of which one is asked for twice.
async fn embed(client: &Client) -> Answer {
    let texts = ["flour and water", "a loaf", "flour and water"];
    client.post("/v1/embeddings", &json!({ "input": texts, "model": MODEL })).await
}

/// How many texts were looked up with this outcome.
async fn vectors(client: &Client, outcome: &str) -> f64 {
    let labels = [("operation", "embedding"), ("outcome", outcome)];
    client.metric("weir_cache_shared_lookups_total", &labels).await
}

/// Ends the server as an operator does.
async fn ended(server: &mut Server) {
    server.sigterm();
    assert!(server.wait().await.success(), "{}", server.log());
}

/// The same, and starts it again.
async fn restarted(mut server: Server) -> Server {
    ended(&mut server).await;
    server.restart().await
}

#[tokio::test]
async fn an_answer_survives_a_restart() {
    for tier in Tier::all() {
        let (server, [before, _]) = server(&tier).await;
        let server = restarted(server).await;
        let client = &server.client;
        let after = ask(client, "search", &question("docs")).await;
        assert!(is_shared_hit(&after), "{tier}: {after:?}");
        for same in ["etag", "content-type", "weir-position"] {
            assert_eq!(after.header(same), before.header(same), "{tier}: {same}");
        }
        assert_eq!(after.body, before.body);
        assert!(after.header("age").parse::<u64>().unwrap() < 100, "{tier}: {after:?}");
        // It is in memory now.
        assert_hit(&ask(client, "search", &question("docs")).await);
        assert_eq!((runs(client, "search").await, lookups(client, "hit").await), (0.0, 1.0));
        // And again after the next restart, which nothing was written before.
        let server = restarted(server).await;
        assert!(is_shared_hit(&ask(&server.client, "search", &question("docs")).await), "{tier}");
    }
}

#[tokio::test]
async fn what_has_changed_since_is_not_served() {
    for tier in Tier::all() {
        let (mut server, _) = server(&tier).await;
        for (what, change) in CHANGES {
            change(&server.client).await;
            // At once: what is known about the change must not depend on time.
            server = restarted(server).await;
            let client = &server.client;
            let changed = ask(client, "search", &question("docs")).await;
            assert_via(&changed, STORED);
            assert_eq!(lookups(client, "changed").await, 1.0, "{tier}: {what}");
            let unchanged = ask(client, "search", &question("more")).await;
            assert!(is_shared_hit(&unchanged), "{tier}: {what}: {unchanged:?}");
            assert!(unchanged.position() >= changed.position(), "{tier}: {what}");
            // The new answer has taken the old one's place.
            server = restarted(server).await;
            let again = ask(&server.client, "search", &question("docs")).await;
            assert!(is_shared_hit(&again), "{tier}: {what}: {again:?}");
        }
    }
}

type Change = fn(&Client) -> futures::future::BoxFuture<'_, ()>;

const CHANGES: [(&str, Change); 4] = [
    ("a new document", |client| {
        Box::pin(async {
            client.ingest("docs", &[document("cake", "Cake has flour, too.")]).await;
        })
    }),
    ("a document that is written again", |client| {
        Box::pin(async {
            client.ingest("docs", &[document("bread", "Bread is baked.")]).await;
        })
    }),
    ("a deletion", |client| {
        Box::pin(async {
            client.delete("/v1/collections/docs/documents/cake").await.assert_status(200);
        })
    }),
    ("a collection that is dropped and created again", |client| {
        Box::pin(async {
            client.delete("/v1/collections/docs").await.assert_status(200);
            client.create("docs").await;
        })
    }),
];

#[tokio::test]
async fn a_restored_truth_gets_nothing_of_the_history_that_it_left() {
    for tier in Tier::all() {
        let (mut server, _) = server(&tier).await;
        ended(&mut server).await;
        let copy = Copy::of(&folder(&server), TRUTH);

        // In the history that is left, `more` has cake.
        let mut server = server.restart().await;
        server.client.ingest("more", &[document("cake", "Cake has flour, too.")]).await;
        let left = ask_stored(&server.client, "more").await;
        assert_eq!(left.ids().len(), 2);
        ended(&mut server).await;
        let old = tier.content(&server);

        // As long as the positions of the restored truth are below those of the old history.
        copy.restore(&folder(&server), TRUTH);
        let mut server = server.restart().await;
        let client = &server.client;
        let answer = ask(client, "search", &question("more")).await;
        assert_eq!(answer.ids(), ["bread"], "{tier}: {answer:?}");
        let counted = (lookups(client, "other-history").await, lookups(client, "hit").await);
        assert_eq!(counted, (1.0, 0.0), "{tier}");

        // And when they have passed them, although nothing in `more` has changed in this history: the
        // tier again has the answer of the other one.
        ended(&mut server).await;
        tier.put_back(&server, &old);
        let server = server.restart().await;
        let client = &server.client;
        for word in ["rain", "snow", "wind"] {
            client.ingest("docs", &[document(word, &format!("Flour and {word}."))]).await;
        }
        let answer = ask(client, "search", &question("more")).await;
        assert!(answer.position() > left.position());
        assert_eq!(answer.ids(), ["bread"], "{tier}: {answer:?}");
        let counted = (lookups(client, "other-history").await, lookups(client, "hit").await);
        assert_eq!(counted, (1.0, 0.0), "{tier}");
    }
}

#[tokio::test]
async fn another_truth_and_other_grants_get_nothing() {
    for tier in Tier::all() {
        let (mut server, _) = server(&tier).await;
        ended(&mut server).await;
        let ours = tier.content(&server);
        // On a Redis that already has our answers, the other's first ones are its own.
        let (mut other, _) = self::server(&tier).await;
        assert_eq!(lookups(&other.client, "hit").await, 0.0, "{tier}");
        ended(&mut other).await;
        tier.put_back(&other, &ours);
        let other = other.restart().await;
        assert_via(&ask(&other.client, "search", &question("docs")).await, STORED);
        assert_eq!(lookups(&other.client, "hit").await, 0.0, "{tier}");

        server.reconfigure(|config| {
            tier.configure(config.search());
            config.set("pipelines.search.grants.collections.read", vec!["docs"]);
        });
        let server = server.restart().await;
        assert_via(&ask(&server.client, "search", &question("docs")).await, STORED);
        assert_eq!(lookups(&server.client, "hit").await, 0.0, "{tier}");
    }
}

#[tokio::test]
async fn vectors_survive_a_restart_and_belong_to_their_truth() {
    let mut server = Server::start().await;
    let before = embed(&server.client).await;
    before.assert_status(200);
    assert_eq!(vectors(&server.client, "absent").await, 2.0);
    ended(&mut server).await;
    // From now on, two texts can be answered only if they are known.
    let few = |config: &mut Config| {
        config.search().set(&in_model("max_queued_texts"), 1);
    };
    server.reconfigure(few);
    let mut server = server.restart().await;
    for _ in 0..2 {
        let after = embed(&server.client).await;
        after.assert_status(200);
        assert_eq!(after.body, before.body);
        // In memory, the second time.
        assert_eq!(vectors(&server.client, "hit").await, 2.0);
    }
    ended(&mut server).await;

    let mut other = Server::with(few).await;
    ended(&mut other).await;
    fs::copy(folder(&server).join(FILE), folder(&other).join(FILE)).unwrap();
    let other = other.restart().await;
    embed(&other.client).await.assert_problem(503, "overloaded");
    // Its keys are others.
    assert_eq!(vectors(&other.client, "absent").await, 2.0);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_begins_again() {
    let (mut server, _) = server(&Tier::Disk).await;
    for garbage in [b"not a database".to_vec(), vec![0; 1 << 20], Vec::new()] {
        ended(&mut server).await;
        fs::write(folder(&server).join(FILE), &garbage).unwrap();
        server = server.restart().await;
        assert_via(&ask(&server.client, "search", &question("docs")).await, STORED);
        server = restarted(server).await;
        assert!(is_shared_hit(&ask(&server.client, "search", &question("docs")).await));
    }
}

#[tokio::test]
async fn without_a_shared_tier_nothing_survives() {
    let (mut server, _) = server(&Tier::Disk).await;
    ended(&mut server).await;
    server.reconfigure(|config| {
        config.search().set("cache.shared.backend", "none");
    });
    let server = server.restart().await;
    assert_via(&ask(&server.client, "search", &question("docs")).await, STORED);
    assert_hit(&ask(&server.client, "search", &question("docs")).await);
}
