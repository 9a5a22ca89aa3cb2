//! What `search` finds: by meaning, by words and by both, with filters, and page by page.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::asking::ask;
use crate::harness::{Answer, Client, Server, document, plugin};

/// A server that hosts `search` and, as `fresh`, the same pipeline without a cache.
async fn server() -> Server {
    Server::with(|config| {
        let grants = ["embedding", "read", "settings"];
        config
            .search()
            .pipeline("fresh", &plugin("search"), &grants)
            .set("pipelines.fresh.settings.collection", "docs");
    })
    .await
}

/// One text per subject. The questions in [`dense_finds_what_is_meant`] have no word in common with
/// the texts that answer them.
const SUBJECTS: [(&str, &str); 8] = [
    ("pie", "Apple pie: slice the apples, sprinkle cinnamon over them and bake under a crust."),
    ("volcano", "Molten rock rises through the vent, and lava flows down the flanks of Etna."),
    ("piano", "The pianist practised Chopin's nocturnes on the grand piano until midnight."),
    ("tax", "Self-employed people file their income tax return with the revenue office."),
    ("football", "The striker scored twice in the second half and the fans cheered the goal."),
    ("vaccine", "The vaccine trains the immune system to recognise the measles virus."),
    ("rust", "The borrow checker rejects a reference that outlives the value it points to."),
    ("moon", "Apollo 11 landed two astronauts on the lunar surface in July 1969."),
];

async fn with_subjects() -> Server {
    let server = server().await;
    server.client.create("docs").await;
    let documents = SUBJECTS.map(|(id, text)| document(id, text));
    server.client.ingest("docs", &documents).await;
    server
}

fn scores(answer: &Answer) -> Vec<f32> {
    let score = |hit: &Value| hit["score"].as_f64().unwrap() as f32;
    answer.results().iter().map(score).collect()
}

#[tokio::test]
async fn dense_finds_what_is_meant() {
    let server = with_subjects().await;
    for (question, id) in [
        ("a recipe for a fruit dessert", "pie"),
        ("eruptions of mountains", "volcano"),
        ("classical music played at a keyboard", "piano"),
        ("what do freelancers owe to the government?", "tax"),
        ("a match between soccer teams", "football"),
        ("how does immunization protect from disease?", "vaccine"),
        ("memory safety of a programming language", "rust"),
        ("space flight history", "moon"),
    ] {
        let answer = server.client.search(&json!({ "query": question, "mode": "dense" })).await;
        assert_eq!(answer.ids()[0], id, "{question}: {}", answer.text());
        assert_eq!(answer.ids().len(), SUBJECTS.len(), "dense search finds every document");
        assert_eq!(answer.json()["mode"], "dense");
        let scores = scores(&answer);
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert!(scores.iter().all(|score| (-1.0..=1.0).contains(score)), "{scores:?}");
    }
}

#[tokio::test]
async fn keyword_finds_words_and_their_inflections() {
    let server = with_subjects().await;
    let found = async |query: &str| {
        let answer = server.client.search(&json!({ "query": query, "mode": "keyword" })).await;
        assert_eq!(answer.json()["mode"], "keyword");
        assert!(scores(&answer).iter().all(|score| *score > 0.0), "{}", answer.text());
        answer.ids()
    };
    assert_eq!(found("Chopin").await, ["piano"]);
    assert_eq!(found("APOLLO 11").await, ["moon"]);
    assert_eq!(found("borrowing").await, ["rust"]);
    assert_eq!(found("baked apple").await, ["pie"]);
    let both = found("nocturne lava").await;
    assert!(both.len() == 2 && both.contains(&"piano".into()) && both.contains(&"volcano".into()));
    for nothing in ["zzyzx", "the of and", "?!"] {
        assert!(found(nothing).await.is_empty(), "{nothing}");
    }
}

#[tokio::test]
async fn a_rarer_word_counts_for_more() {
    let server = server().await;
    let client = &server.client;
    client.create("docs").await;
    let mut documents: Vec<_> =
        (0..20).map(|n| document(&format!("common{n:02}"), "The harbour has boats.")).collect();
    documents.push(document("rare", "The lighthouse has stairs."));
    client.ingest("docs", &documents).await;
    let request = json!({ "query": "harbour lighthouse", "mode": "keyword" });
    assert_eq!(client.search(&request).await.ids()[0], "rare");
}

#[tokio::test]
async fn hybrid_fuses_the_ranks_of_both() {
    let server = with_subjects().await;
    let client = &server.client;
    for query in ["goal of the immune system", "apple computers", "land on a surface", "tax"] {
        let leg = async |mode: &str| {
            client.search(&json!({ "query": query, "mode": mode, "limit": 100 })).await.ids()
        };
        let mut fused: HashMap<String, f64> = HashMap::new();
        for ids in [leg("dense").await, leg("keyword").await] {
            for (rank, id) in (1_u32..).zip(ids) {
                *fused.entry(id).or_default() += 1.0 / (60.0 + f64::from(rank));
            }
        }
        let mut expected: Vec<_> =
            fused.into_iter().map(|(id, score)| (id, score as f32)).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));

        let hybrid = client.search(&json!({ "query": query, "limit": 100 })).await;
        assert_eq!(hybrid.json()["mode"], "hybrid", "the default");
        let found: Vec<_> = hybrid.ids().into_iter().zip(scores(&hybrid)).collect();
        assert_eq!(found, expected, "{query}");
    }
}

/// Paragraphs about different subjects, with characters of one to four bytes.
fn long_document() -> String {
    let filler = "Café owners naïvely façade the Übergröße of crème brûlée — 🍮 — every day. ";
    let glaciers = "Glaciers are rivers of ice that carve valleys while they creep downhill.";
    format!("{}\n\n{glaciers}\n\n{}", filler.repeat(60), filler.repeat(60))
}

#[tokio::test]
async fn a_document_is_found_once_by_its_best_chunk_at_its_exact_range() {
    let server = server().await;
    let client = &server.client;
    client.create("docs").await;
    let texts = HashMap::from([
        ("long", long_document()),
        ("blank", format!("\n\n  {}  \n", SUBJECTS[1].1)),
        ("short", "Ice.".to_owned()),
    ]);
    let documents: Vec<_> = texts.iter().map(|(id, text)| document(id, text)).collect();
    client.ingest("docs", &documents).await;
    for mode in ["dense", "keyword", "hybrid"] {
        let request = json!({ "query": "glaciers carve valleys", "mode": mode, "limit": 100 });
        let answer = client.search(&request).await;
        assert_eq!(answer.ids()[0], "long", "{mode}");
        for hit in answer.results() {
            let (id, place) = (hit["document_id"].as_str().unwrap(), |end: &str| {
                usize::try_from(hit[end].as_u64().unwrap()).unwrap()
            });
            let chunk = &texts[id][place("start")..place("end")];
            assert_eq!(hit["text"], chunk, "{mode} {id}");
            assert!(!chunk.is_empty() && chunk == chunk.trim(), "{chunk:?}");
        }
        let best = answer.results()[0]["text"].as_str().unwrap().to_owned();
        assert!(best.contains("Glaciers are rivers of ice"), "{mode}: {best}");
        assert!(best.len() < texts["long"].len() / 2, "a chunk, not the document");
        let mut ids = answer.ids();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), answer.ids().len(), "{mode}: once each");
    }
}

#[tokio::test]
async fn metadata_is_returned_as_it_was_given() {
    let server = server().await;
    let client = &server.client;
    client.create("docs").await;
    let metadata = json!({ "b": [1, 2.5, "x", null], "a": { "c": true, "ü": "\u{1f36e}" } });
    let with = json!({ "id": "with", "text": "Flour.", "metadata": metadata });
    client.ingest("docs", &[with, document("without", "Flour.")]).await;
    let answer = client.search(&json!({ "query": "flour", "mode": "keyword" })).await;
    assert_eq!(answer.ids(), ["with", "without"]);
    assert_eq!(answer.results()[0]["metadata"], metadata);
    assert_eq!(answer.results()[1]["metadata"], json!({}));
}

#[tokio::test]
async fn filters_restrict_which_documents_are_found() {
    let server = server().await;
    let client = &server.client;
    client.create("docs").await;
    let flour = |id: &str, metadata: Value| json!({ "id": id, "text": "Flour is ground from grain.", "metadata": metadata });
    let documents = [
        flour(
            "a",
            json!({ "year": 1999, "open": true, "tags": ["x", "y"], "by": {"name": "Ann"} }),
        ),
        flour("b", json!({ "year": 2005.5, "open": false, "tags": ["y"], "by": {"name": "Bob"} })),
        flour("c", json!({ "year": 2010, "open": true, "tags": [], "by": {"name": null} })),
        flour("d", json!({ "year": "2010", "open": "true", "tags": "x" })),
        flour("e", json!({})),
    ];
    client.ingest("docs", &documents).await;
    let all = ["a", "b", "c", "d", "e"];
    let field =
        |field: &str, predicate: &str, value: Value| json!({ "field": field, predicate: value });
    let must = |condition: &Value| json!({ "must": [condition] });
    let year = |predicate: &str, value: Value| must(&field("year", predicate, value));
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &all),
        (json!({ "must": [], "should": [], "must_not": [] }), &all),
        (year("equals", json!(2010)), &["c"]),
        (year("equals", json!(2010.0)), &["c"]),
        (year("equals", json!("2010")), &["d"]),
        (year("equals", json!(2005.5)), &["b"]),
        (year("at_least", json!(2005.5)), &["b", "c"]),
        (year("at_least", json!(2006)), &["c"]),
        (year("at_most", json!(2005.5)), &["a", "b"]),
        (year("at_most", json!(1998.9)), &[]),
        (year("any_of", json!([1999, "2010", true])), &["a", "d"]),
        (year("exists", json!(true)), &["a", "b", "c", "d"]),
        (must(&field("open", "equals", json!(true))), &["a", "c"]),
        (must(&field("open", "equals", json!("true"))), &["d"]),
        (must(&field("open", "any_of", json!([true, false]))), &["a", "b", "c"]),
        (must(&field("tags", "equals", json!("x"))), &["a", "d"]),
        (must(&field("tags", "any_of", json!(["x", "z"]))), &["a", "d"]),
        (must(&field("tags", "exists", json!(true))), &["a", "b", "c", "d"]),
        (must(&field("by.name", "equals", json!("Ann"))), &["a"]),
        (must(&field("by.name", "exists", json!(true))), &["a", "b"]),
        (must(&field("by", "exists", json!(true))), &["a", "b", "c"]),
        (must(&field("name", "exists", json!(true))), &[]),
        (json!({ "must_not": [field("year", "exists", json!(true))] }), &["e"]),
        (json!({ "must_not": [field("tags", "equals", json!("y"))] }), &["c", "d", "e"]),
        (
            json!({ "should": [field("year", "equals", json!(1999)),
                               field("by.name", "equals", json!("Bob"))] }),
            &["a", "b"],
        ),
        (
            json!({ "must": [field("open", "exists", json!(true))],
                    "should": [field("tags", "equals", json!("x")),
                               field("year", "at_least", json!(2000))],
                    "must_not": [field("by.name", "equals", json!("Bob"))] }),
            &["a", "c", "d"],
        ),
        (
            json!({ "must": [field("year", "at_least", json!(1999)),
                             field("year", "at_most", json!(2006))] }),
            &["a", "b"],
        ),
    ];
    for mode in ["dense", "keyword", "hybrid"] {
        for (filter, expected) in &cases {
            let request = json!({ "query": "flour", "mode": mode, "filter": filter });
            let mut ids = client.search(&request).await.ids();
            ids.sort();
            assert_eq!(ids, *expected, "{mode} {filter}");
        }
    }
}

#[tokio::test]
async fn nothing_below_the_minimum_score_is_found() {
    let server = with_subjects().await;
    for mode in ["dense", "keyword", "hybrid"] {
        let query = "the immune system of apples";
        let all = server.client.search(&json!({ "query": query, "mode": mode })).await;
        let all_scores = scores(&all);
        assert!(all_scores.len() >= 2, "{mode}: {all_scores:?}");
        for score in &all_scores {
            let count = all_scores.iter().filter(|other| *other >= score).count();
            let minimum = json!({ "query": query, "mode": mode, "minimum_score": score });
            let some = server.client.search(&minimum).await;
            assert_eq!(some.results(), all.results()[..count], "{mode} from {score} on");
        }
        let over = all_scores[0].next_up();
        let none = json!({ "query": query, "mode": mode, "minimum_score": over });
        assert!(server.client.search(&none).await.ids().is_empty(), "{mode} over {over}");
    }
}

/// Documents with the same score are ordered by id, on every page.
#[tokio::test]
async fn pages_are_contiguous_and_ties_are_ordered_by_id() {
    let server = server().await;
    let client = &server.client;
    client.create("docs").await;
    let same = |id: &String| document(id, "Flour is ground from grain.");
    let mut ids: Vec<_> = (0..30).map(|n| format!("t{}", n * 7 % 30)).collect();
    client.ingest("docs", &ids.iter().map(same).collect::<Vec<_>>()).await;
    client.ingest("docs", &[document("best", "Flour, flour, flour.")]).await;
    ids.sort();
    for mode in ["dense", "keyword", "hybrid"] {
        let page = async |limit: usize, offset: usize| {
            let request =
                json!({ "query": "flour", "mode": mode, "limit": limit, "offset": offset });
            client.search(&request).await.results()
        };
        let all = page(100, 0).await;
        assert_eq!(all.len(), 31, "{mode}");
        let tied: Vec<_> = all.iter().filter(|hit| hit["document_id"] != "best").collect();
        if mode != "hybrid" {
            let tied: Vec<_> =
                tied.iter().map(|hit| hit["document_id"].as_str().unwrap()).collect();
            assert_eq!(tied, ids, "{mode}");
        }
        for limit in [1, 7, 31] {
            let mut pages = Vec::new();
            for offset in (0..31).step_by(limit) {
                let found = page(limit, offset).await;
                assert_eq!(found.len(), limit.min(31 - offset), "{mode} {limit} {offset}");
                pages.extend(found);
            }
            assert_eq!(pages, all, "{mode} by {limit}");
        }
        assert!(page(10, 31).await.is_empty(), "{mode}");
        assert!(page(100, 9_900).await.is_empty(), "{mode}");
    }
}

#[tokio::test]
async fn the_same_question_gets_the_same_bytes() {
    let server = with_subjects().await;
    let client: &Client = &server.client;
    for mode in ["dense", "keyword", "hybrid"] {
        let request = json!({ "query": "the goal of the borrow checker", "mode": mode });
        let first = ask(client, "fresh", &request).await;
        first.assert_status(200);
        for _ in 0..5 {
            let again = ask(client, "fresh", &request).await;
            assert_eq!(again.body, first.body, "{mode}");
            assert_eq!(again.header("etag"), first.header("etag"), "{mode}");
        }
        assert_eq!(client.search(&request).await.body, first.body, "{mode}, from the cache");
    }
}

#[tokio::test]
async fn an_empty_collection_has_no_results() {
    let server = server().await;
    server.client.create("docs").await;
    for mode in ["dense", "keyword", "hybrid"] {
        let answer = server.client.search(&json!({ "query": "flour", "mode": mode })).await;
        assert_eq!(answer.json(), json!({ "results": [], "mode": mode }));
    }
}

#[tokio::test]
async fn a_text_without_words_is_kept_and_never_found() {
    let server = server().await;
    let client = &server.client;
    client.create("docs").await;
    client.ingest("docs", &[document("marks", "?!… — *"), document("bread", "Bread.")]).await;
    assert_eq!(client.count("docs").await, 2);
    for mode in ["dense", "keyword", "hybrid"] {
        let answer = client.search(&json!({ "query": "bread ?!", "mode": mode })).await;
        assert_eq!(answer.ids(), ["bread"], "{mode}");
    }
}
