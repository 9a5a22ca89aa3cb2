//! `POST /v1/embeddings` in OpenAI's shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::harness::{Answer, Server};

const PATH: &str = "/v1/embeddings";
const MODEL: &str = "all-MiniLM-L6-v2";
const DIMENSIONS: usize = 384;

/// Asserts that an answer has OpenAI's shape, and returns its vectors in the order of their
/// indices.
fn vectors(answer: &Answer) -> Vec<Vec<f32>> {
    answer.assert_status(200);
    let body = answer.json();
    assert_eq!((&body["object"], &body["model"]), (&json!("list"), &json!(MODEL)));
    let tokens = body["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(tokens > 0, "{}", body["usage"]);
    assert_eq!(body["usage"]["total_tokens"], tokens);
    let data = body["data"].as_array().unwrap().iter().enumerate();
    data.map(|(index, item)| {
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
        let vector = numbers(&item["embedding"]);
        assert_eq!(vector.len(), DIMENSIONS);
        assert!((dot(&vector, &vector) - 1.0).abs() < 1e-4, "not a unit vector");
        vector
    })
    .collect()
}

fn numbers(embedding: &Value) -> Vec<f32> {
    match embedding {
        Value::String(text) => {
            let bytes = BASE64.decode(text).unwrap();
            let (chunks, rest) = bytes.as_chunks::<4>();
            assert!(rest.is_empty());
            chunks.iter().copied().map(f32::from_le_bytes).collect()
        }
        list => {
            list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[tokio::test]
async fn a_text_has_the_same_vector_in_every_format_and_list() {
    let server = Server::with(|_| {}).await;
    let embed = async |input: Value, format: Option<&str>| {
        let mut body = json!({ "input": input, "model": MODEL });
        if let Some(format) = format {
            body["encoding_format"] = json!(format);
        }
        server.client.post(PATH, &body).await
    };
    let text = "A cat sits on the mat.";
    // Texts of different lengths, which are padded and batched together.
    let company = [
        "Dogs bark.",
        text,
        "The theory of relativity usually encompasses two interrelated theories by Einstein, \
         special relativity and general relativity, proposed and published in 1905 and 1915.",
        "ü",
        "Ein Satz auf Deutsch, mit 🦀 und 漢字.",
    ];
    // The list comes first; otherwise its second text would come from the cache.
    let together = vectors(&embed(json!(company), None).await);
    let alone = vectors(&embed(json!(text), None).await).remove(0);
    assert_eq!(alone, together[1]);
    for format in ["float", "base64"] {
        let in_list = vectors(&embed(json!([text]), Some(format)).await).remove(0);
        assert_eq!(in_list, alone, "{format}");
    }
    let reversed: Vec<_> = company.iter().rev().collect();
    let mut backwards = vectors(&embed(json!(reversed), Some("base64")).await);
    backwards.reverse();
    assert_eq!(backwards, together);
    // The vectors carry meaning: a sentence about cats is nearest to the one about cats.
    let query = vectors(&embed(json!("Where is the cat?"), None).await).remove(0);
    let nearest = (0..company.len())
        .max_by(|a, b| dot(&query, &together[*a]).total_cmp(&dot(&query, &together[*b])));
    assert_eq!(nearest, Some(1));
}

#[tokio::test]
async fn a_vector_does_not_depend_on_its_batch() {
    let text = "What must be obeyed when models of aircraft are built?";
    let others: Vec<_> = (1..20).map(|n| "word ".repeat(n)).collect();
    let mut vectors_of_text = Vec::new();
    // Each request gets its own server: on one server, the second would be answered from its cache.
    for input in [json!(text), json!([&others[..], &[text.to_owned()]].concat())] {
        let server = Server::with(|_| {}).await;
        let answer = server.client.post(PATH, &json!({ "input": input, "model": MODEL })).await;
        vectors_of_text.push(vectors(&answer).pop().unwrap());
    }
    let cosine = dot(&vectors_of_text[0], &vectors_of_text[1]);
    assert!(cosine >= 0.99999, "{cosine}");
}

#[tokio::test]
async fn usage_counts_the_tokens_of_all_texts() {
    let server = Server::with(|_| {}).await;
    let tokens = async |input: Value| {
        let answer = server.client.post(PATH, &json!({ "input": input, "model": MODEL })).await;
        answer.assert_status(200);
        answer.json()["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let (one, other) = (tokens(json!("one")).await, tokens(json!("one two three")).await);
    assert!(0 < one && one < other, "{one} {other}");
    assert_eq!(tokens(json!(["one", "one two three", "one"])).await, one + other + one);
}

#[tokio::test]
async fn invalid_requests() {
    let server = Server::with(|_| {}).await;
    let many = json!({ "input": vec!["a"; 257], "model": MODEL }).to_string();
    let long = json!({ "input": "word ".repeat(600), "model": MODEL }).to_string();
    for (body, problem, says) in [
        (r#"{"input":"","model":"all-MiniLM-L6-v2"}"#, (400, "empty-input"), "index 0"),
        (r#"{"input":[],"model":"all-MiniLM-L6-v2"}"#, (400, "empty-input"), "no texts"),
        (r#"{"input":["a"," "],"model":"all-MiniLM-L6-v2"}"#, (400, "empty-input"), "index 1"),
        (r#"{"input":"a","model":"gpt"}"#, (404, "unknown-model"), MODEL),
        (r#"{"input":"a"}"#, (400, "invalid-request"), "`model`"),
        (r#"{"model":"all-MiniLM-L6-v2"}"#, (400, "invalid-request"), "`input`"),
        (
            r#"{"input":1,"model":"all-MiniLM-L6-v2"}"#,
            (400, "invalid-request"),
            "a string or a list",
        ),
        (
            r#"{"input":"a","model":"all-MiniLM-L6-v2","encoding_format":"hex"}"#,
            (400, "invalid-request"),
            "`base64`",
        ),
        (
            r#"{"input":"a","model":"all-MiniLM-L6-v2","dimensions":7}"#,
            (400, "invalid-request"),
            "384",
        ),
        (r#"{"input":"a","input":"b","model":"m"}"#, (400, "duplicate-key"), "\"input\""),
        ("{", (400, "invalid-json"), "byte"),
        (&many, (400, "invalid-request"), "256"),
        (&long, (400, "text-too-long"), "tokens"),
    ] {
        let answer = server.client.post_bytes(PATH, "application/json", body.to_owned()).await;
        answer.assert_problem(problem.0, problem.1);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "no {says:?} in {detail:?}");
    }
}
