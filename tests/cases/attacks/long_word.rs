//! Words of megabytes, which a tokenizer would read to their ends.

use serde_json::json;

use crate::harness::{Server, document};

const WORDS: usize = 12;
const WORD_BYTES: usize = 5 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_of_megabytes_is_refused_without_being_tokenized() {
    let server = Server::with(|config| {
        config.search();
        config.set("server.max_body_bytes", 8 << 20);
    })
    .await;
    let client = &server.client;
    client.create("docs").await;
    client.ingest("docs", &[document("a", "A note about boats.")]).await;
    let word = "x".repeat(WORD_BYTES);
    let long = (0..WORDS).map(|_| async {
        let body = json!({ "input": ["short", word], "model": "all-MiniLM-L6-v2" });
        let answer = client.post("/v1/embeddings", &body).await;
        answer.assert_problem(400, "text-too-long");
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains("5242880 bytes"), "{detail}");
    });
    let neighbour = async {
        for number in 0..10 {
            let question = json!({ "query": format!("a new question about boats {number}") });
            assert_eq!(client.search(&question).await.ids(), ["a"]);
        }
    };
    futures::join!(futures::future::join_all(long), neighbour);
}
