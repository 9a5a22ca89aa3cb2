//! Documents: stored, read, replaced, deleted and found, over HTTP and by `weir ingest`.

use std::fs;
use std::path::Path;

use futures::future::join_all;
use serde_json::json;

use crate::harness::{Answer, Client, Ended, Server, document, weir};

const COLLECTION: &str = "/v1/collections/docs";
const DOCUMENTS: &str = "/v1/collections/docs/documents";
const NONE: Vec<String> = Vec::new();

async fn server() -> Server {
    let server = Server::start().await;
    server.client.create("docs").await;
    server
}

/// The ids that each mode finds for `query`.
async fn found(client: &Client, query: &str) -> [Vec<String>; 3] {
    let ask = async |mode: &str| {
        client.search(&json!({ "query": query, "mode": mode, "limit": 100 })).await.ids()
    };
    [ask("dense").await, ask("keyword").await, ask("hybrid").await]
}

#[tokio::test]
async fn collections_are_created_listed_and_dropped() {
    let server = Server::start().await;
    let client = &server.client;
    let made = client.put(COLLECTION).await;
    made.assert_status(201);
    assert_eq!(made.position(), 1);
    let body = json!({ "name": "docs", "documents": 0, "bytes": 0, "created": 1 });
    assert_eq!(made.json(), body);
    let again = client.put(COLLECTION).await;
    again.assert_status(200);
    assert_eq!(again.json(), body);
    let longest = format!("0{}", "a.b_c-".repeat(11))[..64].to_owned();
    client.create(&longest).await;
    let listed = client.get("/v1/collections").await;
    let listed = listed.json()["collections"].clone();
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&json!(longest), &json!("docs")));
    // An empty collection can be searched, and has no hits.
    assert_eq!(found(client, "anything").await, [NONE; 3]);
    client.ingest("docs", &[document("a", "Something to find.")]).await;
    let dropped = client.delete(COLLECTION).await;
    dropped.assert_status(200);
    assert_eq!(dropped.position(), 4);
    let question = json!({ "query": "something" });
    client.post("/v1/pipelines/search", &question).await.assert_problem(404, "unknown-collection");
    client.delete(COLLECTION).await.assert_problem(404, "unknown-collection");
    // A new collection with the same name is empty.
    client.create("docs").await;
    assert_eq!(found(client, "something").await, [NONE; 3]);
    assert_eq!(client.count("docs").await, 0);
}

#[tokio::test]
async fn a_document_is_stored_found_replaced_and_deleted() {
    let server = server().await;
    let client = &server.client;
    let bread = json!({
        "id": "bread", "text": "Flour, water and salt make bread.",
        "metadata": { "pages": 3, "big": 9_007_199_254_740_993_i64, "tags": ["food", "ü"] },
    });
    let documents = [bread.clone(), document("sea", "Ships sail the sea.")];
    let stored = client.ingest("docs", &documents).await;
    let position = stored.position();
    let expected = json!({ "position": position, "searchable": true, "documents": 2 });
    assert_eq!(stored.json(), expected);

    // It is searchable at once, and the answer's position shows that it includes the write.
    let answer = client.search(&json!({ "query": "flour", "mode": "keyword" })).await;
    assert_eq!((answer.ids(), answer.position()), (vec!["bread".to_owned()], position));
    let hit = &answer.results()[0];
    assert_eq!((&hit["text"], &hit["metadata"]), (&bread["text"], &bread["metadata"]));
    let one = client.get(&format!("{DOCUMENTS}/bread")).await;
    one.assert_status(200);
    let mut expected = bread.clone();
    expected["version"] = json!(position);
    assert_eq!((one.json(), one.position()), (expected, position));

    let replaced = client.ingest("docs", &[document("bread", "Iron is forged with fire.")]).await;
    assert!(replaced.position() > position);
    assert_eq!(client.count("docs").await, 2);
    let by_old_word = client.search(&json!({ "query": "flour", "mode": "keyword" })).await;
    assert!(by_old_word.ids().is_empty(), "{}", by_old_word.text());
    let by_new_word = client.search(&json!({ "query": "iron" })).await;
    assert_eq!(by_new_word.ids()[0], "bread");
    assert_eq!(by_new_word.results()[0]["metadata"], json!({}));

    let path = format!("{DOCUMENTS}/bread");
    let deleted = client.delete(&path).await;
    deleted.assert_status(200);
    assert!(deleted.position() > replaced.position());
    client.get(&path).await.assert_problem(404, "unknown-document");
    client.delete(&path).await.assert_problem(404, "unknown-document");
    let [dense, keyword, hybrid] = found(client, "iron").await;
    assert_eq!((dense, keyword, hybrid), (vec!["sea".into()], vec![], vec!["sea".into()]));
    assert_eq!(client.count("docs").await, 1);
}

#[tokio::test]
async fn json_and_lines_store_the_same() {
    let server = server().await;
    let client = &server.client;
    client.create("lines").await;
    let documents = [
        json!({ "id": "a", "text": "One.", "metadata": { "b": 1, "a": [1.50, null, "\u{1f980}"] } }),
        document("b", "Two."),
    ];
    client.ingest("docs", &documents).await;
    let [a, b] = documents.map(|document| document.to_string());
    let body = format!("\r\n{a}\r\n\n  {b}");
    for kind in ["application/x-ndjson", "application/jsonl; charset=utf-8"] {
        let stored = client.post_bytes("/v1/collections/lines/documents", kind, body.clone()).await;
        stored.assert_status(200);
        assert_eq!(stored.json()["documents"], 2);
    }
    for id in ["a", "b"] {
        let [one, other] = ["docs", "lines"]
            .map(|collection| format!("/v1/collections/{collection}/documents/{id}"));
        let (mut one, mut other) = (client.get(&one).await.json(), client.get(&other).await.json());
        one["version"].take();
        other["version"].take();
        assert_eq!(one, other);
    }
}

#[tokio::test]
async fn ids_are_any_printable_text() {
    let server = server().await;
    let client = &server.client;
    let longest = "ü".repeat(256);
    for (id, encoded) in [
        ("a/b", "a%2Fb"),
        ("a/b", "a%2fb"),
        ("../a", "..%2Fa"),
        ("https://weir.example/?q=1#x", "https%3A%2F%2Fweir.example%2F%3Fq%3D1%23x"),
        ("a b+c%20", "a%20b+c%2520"),
        (" ", "%20"),
        ("漢字", "%E6%BC%A2%E5%AD%97"),
        ("\"\\", "%22%5C"),
        (&longest, &"%C3%BC".repeat(256)),
    ] {
        client.ingest("docs", &[document(id, "A text.")]).await;
        let path = format!("{DOCUMENTS}/{encoded}");
        let stored = client.get(&path).await;
        stored.assert_status(200);
        assert_eq!(stored.json()["id"], id);
        for ids in found(client, "text").await {
            assert_eq!(ids, [id]);
        }
        client.delete(&path).await.assert_status(200);
    }
}

#[tokio::test]
async fn a_text_without_words_is_kept_and_never_found() {
    let server = server().await;
    let client = &server.client;
    let wordless = ["", " ", "\n\t", "… — !?", "-.-"];
    let mut documents: Vec<_> = wordless
        .iter()
        .enumerate()
        .map(|(index, text)| document(&format!("wordless-{index}"), text))
        .collect();
    documents.push(document("words", "Some words."));
    client.ingest("docs", &documents).await;
    assert_eq!(client.count("docs").await, 6);
    for (index, text) in wordless.iter().enumerate() {
        let stored = client.get(&format!("{DOCUMENTS}/wordless-{index}")).await;
        assert_eq!(stored.json()["text"], *text);
    }
    for query in ["words", "… — !?", "nothing like it"] {
        let [dense, keyword, hybrid] = found(client, query).await;
        assert_eq!(dense, ["words"], "{query}");
        assert!(keyword.len() <= 1 && hybrid == ["words"], "{query}: {keyword:?} {hybrid:?}");
    }
    // A short text is not a text without words: it is found.
    client.ingest("docs", &[document("short", "x")]).await;
    assert_eq!(found(client, "x").await[1], ["short"]);
}

#[tokio::test]
async fn the_range_of_a_hit_is_exact_to_the_byte() {
    let server = server().await;
    let client = &server.client;
    let animals = ["crab 🦀", "Käfer", "猫は窓辺で眠る", "naïve café owl", "e\u{301}lan", "yak"];
    let text: String = (0..120)
        .map(|n| {
            let animal = animals[n % animals.len()];
            let end = ["\n\n", " ", "\r\n", "  ", "\u{a0}"][n % 5];
            format!("Sentence {n} tells of the {animal} and of number{n}.{end}")
        })
        .collect();
    let text = format!("\u{feff} {text}\n");
    client.ingest("docs", &[document("animals", &text)]).await;
    let mut starts = Vec::new();
    for n in (0..120).step_by(7) {
        for mode in ["keyword", "dense", "hybrid"] {
            let query = format!("number{n}");
            let answer = client.search(&json!({ "query": query, "mode": mode })).await;
            let hit = answer.results().remove(0);
            let at = |member: &str| usize::try_from(hit[member].as_u64().unwrap()).unwrap();
            let (start, end) = (at("start"), at("end"));
            assert_eq!(text.get(start..end), hit["text"].as_str(), "{hit}");
            assert!(mode != "keyword" || text[start..end].contains(&format!("{query}.")), "{hit}");
            starts.push(start);
        }
    }
    starts.sort_unstable();
    starts.dedup();
    assert!(starts.len() >= 5, "{} bytes are in these chunks only: {starts:?}", text.len());
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_carried_out_once() {
    let server = server().await;
    let client = &server.client;
    let body = json!({ "documents": [document("a", "Once."), document("b", "Twice.")] });
    let body = body.to_string();
    let put = || {
        let request = client.request("POST", DOCUMENTS).header("content-type", "application/json");
        Answer::to(request.header("idempotency-key", "key-1").body(body.clone()))
    };
    let answers = join_all((0..16).map(|_| put())).await;
    let position = answers[0].position();
    assert_eq!(position, 2);
    let mut replayed = 0;
    for answer in &answers {
        answer.assert_status(200);
        assert_eq!(answer.position(), position);
        replayed += usize::from(answer.json()["replayed"] == true);
    }
    assert_eq!(replayed, 15);
    assert_eq!(client.get("/v1/collections").await.position(), position);
    // It is still the same request later, and after a restart.
    client.delete(&format!("{DOCUMENTS}/a")).await.assert_status(200);
    assert_eq!(put().await.position(), position);
    let server = server.restart().await;
    let request = server.client.request("POST", DOCUMENTS).header("idempotency-key", "key-1");
    let request = request.header("content-type", "application/json").body(body.clone());
    let again = Answer::to(request).await;
    assert_eq!((again.position(), &again.json()["replayed"]), (position, &json!(true)));
    assert_eq!(server.client.count("docs").await, 1);
}

#[tokio::test]
async fn concurrent_writes_are_all_counted() {
    let server = server().await;
    let client = &server.client;
    let put = |n: usize| async move {
        client.ingest("docs", &[document(&format!("d{n}"), &format!("Text word{n}."))]).await
    };
    let mut positions: Vec<_> =
        join_all((0..24).map(put)).await.iter().map(Answer::position).collect();
    positions.sort_unstable();
    assert_eq!(positions, (2..26).collect::<Vec<u64>>());
    assert_eq!(client.count("docs").await, 24);
    for n in 0..24 {
        let question = json!({ "query": format!("word{n}"), "mode": "keyword" });
        assert_eq!(client.search(&question).await.ids(), [format!("d{n}")]);
    }
}

#[tokio::test]
async fn a_write_that_is_not_searchable_yet_is_reported_as_such() {
    let server = Server::with(|config| {
        config.search().set("ingest.searchable_timeout_ms", 0);
    })
    .await;
    let client = &server.client;
    client.create_at_once("docs").await;
    // Too much to embed before the answer is sent.
    let documents: Vec<_> =
        (0..20).map(|n| document(&format!("d{n}"), &format!("Number {n}. ").repeat(10))).collect();
    let answer = client.post(DOCUMENTS, &json!({ "documents": documents })).await;
    answer.assert_status(202);
    let expected = json!({ "position": answer.position(), "searchable": false, "documents": 20 });
    assert_eq!(answer.json(), expected);
    crate::harness::eventually("it can be searched", async || {
        // Until then, even the collection may be unknown.
        let question = json!({ "query": "number", "mode": "keyword" });
        let found = client.post("/v1/pipelines/search", &question).await;
        (found.status == 200 && found.position() >= answer.position()).then_some(())
    })
    .await;
    assert_eq!(found(client, "number").await[1].len(), 20);
}

async fn ingest(server: &Server, paths: &[&Path]) -> Ended {
    let url = format!("http://{}", server.address);
    let mut arguments = vec!["ingest", "--collection", "docs", "--url", &url];
    arguments.extend(paths.iter().map(|path| path.to_str().unwrap()));
    weir(&arguments).await
}

#[tokio::test]
async fn files_become_documents() {
    let server = Server::start().await;
    let client = &server.client;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    file("guide/intro.md", b"# A *short* intro\n\nMarkdown about `bread`.\n");
    let html = "<title>Sea &amp; sky</title><nav>Menu</nav><main><p>Ships &amp; gulls.</p></main>";
    file("guide/sea.html", html.as_bytes());
    file("note.txt", "Schöne Grüße.\n".as_bytes());
    let lines = [
        json!({ "id": "x", "text": "From a line.", "metadata": { "n": 1 } }),
        document("y", "Too."),
    ];
    file("lines.ndjson", format!("{}\n{}\n", lines[0], lines[1]).as_bytes());
    file("picture.png", b"\x89PNG");
    file("blank.txt", b"  \n");
    file(".hidden.md", b"hidden");

    // The second run stores the same documents again, without duplicates.
    for _ in 0..2 {
        let ended = ingest(&server, &[folder.path()]).await;
        assert!(ended.success, "{ended:?}");
        assert!(ended.stdout.starts_with("5 documents, "), "{ended:?}");
        assert!(ended.stdout.contains("2 skipped:"), "{ended:?}");
        assert!(ended.stdout.contains("picture.png: "), "{ended:?}");
        assert!(ended.stdout.contains("blank.txt: it has no text"), "{ended:?}");
        assert_eq!(client.count("docs").await, 5);
    }
    for (id, title, text) in [
        ("guide/intro.md", "A short intro", "A short intro\n\nMarkdown about bread."),
        ("guide/sea.html", "Sea & sky", "Ships & gulls."),
        ("note.txt", "note", "Schöne Grüße.\n"),
    ] {
        let stored = client.get(&format!("{DOCUMENTS}/{}", id.replace('/', "%2F"))).await;
        stored.assert_status(200);
        let stored = stored.json();
        assert_eq!((&stored["text"], &stored["metadata"]["title"]), (&json!(text), &json!(title)));
        assert_eq!(stored["metadata"]["path"], id);
    }
    assert_eq!(client.get(&format!("{DOCUMENTS}/x")).await.json()["metadata"], json!({ "n": 1 }));
    let found = client.search(&json!({ "query": "gulls", "mode": "keyword" })).await;
    assert_eq!(found.ids(), ["guide/sea.html"]);
}

#[tokio::test]
async fn an_incomplete_ingest_fails() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let nothing = ingest(&server, &[folder.path()]).await;
    nothing.assert_refused(&["nothing was ingested"]);

    let large = json!({ "id": "a", "text": "b", "metadata": { "a": "a".repeat(70_000) } });
    let path = folder.path().join("large.ndjson");
    fs::write(&path, large.to_string()).unwrap();
    let refused = ingest(&server, &[&path]).await;
    refused.assert_refused(&["some documents were not stored"]);
    assert!(refused.stdout.contains("(document-too-large)"), "{refused:?}");

    // A line that is not a document is skipped and reported.
    fs::write(&path, "{\"id\":\"good\",\"text\":\"A text.\"}\n{\"id\":\"bad\"}\n").unwrap();
    let some = ingest(&server, &[&path]).await;
    assert!(some.success && some.stdout.contains("large.ndjson:2: missing field"), "{some:?}");
    assert_eq!(server.client.count("docs").await, 1);

    let absent = ingest(&server, &[Path::new("/nowhere/at-all.md")]).await;
    assert!(!absent.success, "{absent:?}");
    let name = weir(&["ingest", "--collection", "Not A Name", "x.md"]).await;
    name.assert_refused(&["a name is 1 to 64"]);
    let nobody = weir(&["ingest", "--collection", "docs", "--url", "http://127.0.0.1:1", "x.md"]);
    nobody.await.assert_refused(&["no server answers at http://127.0.0.1:1"]);
}
