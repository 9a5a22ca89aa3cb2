//! Bad input: each kind gets its status, its code and a helpful message, and changes nothing.

use serde_json::{Value, json};

use crate::harness::{Answer, Client, Raw, Server, document};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const SEARCH: &str = "/v1/pipelines/search";
const DOCUMENTS: &str = "/v1/collections/docs/documents";

/// A server with one document in the collection `docs`, and the state that bad input could change.
struct Fixture {
    server: Server,
    before: String,
}

impl Fixture {
    async fn new() -> Self {
        let server = Server::start().await;
        server.client.create("docs").await;
        server.client.ingest("docs", &[document("first", "The first document.")]).await;
        let before = Self::state(&server.client).await;
        Self { server, before }
    }

    async fn state(client: &Client) -> String {
        let collections = client.get("/v1/collections").await;
        let document = client.get("/v1/collections/docs/documents/first").await;
        format!("{} {} {}", collections.position(), collections.text(), document.text())
    }

    /// Asserts that the answer is this problem, that its detail contains `says`, and that nothing
    /// has changed.
    async fn refused(&self, what: &str, answer: &Answer, problem: (u16, &str), says: &str) {
        println!("{what}: {}", answer.text());
        answer.assert_problem(problem.0, problem.1);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{what}: no {says:?} in {detail:?}");
        assert_eq!(Self::state(&self.server.client).await, self.before, "{what}");
    }
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned()
}

#[tokio::test]
async fn invalid_questions() {
    let fixture = Fixture::new().await;
    let deep = format!(r#"{{"query":"a","filter":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let large = format!(r#"{{"query":"{}"}}"#, "a".repeat(1 << 20));
    let limit = |limit: &str| format!(r#"{{"query":"a","limit":{limit}}}"#).into_bytes();
    let limit_rule = "'limit' must be an integer from 1 to 100";
    for (body, problem, says) in [
        (b"".to_vec(), (400, "invalid-json"), "byte 0"),
        (b"nonsense".to_vec(), (400, "invalid-json"), "byte"),
        (br#"{"query":"a""#.to_vec(), (400, "invalid-json"), "byte"),
        (br#"{"query":"a"}{}"#.to_vec(), (400, "invalid-json"), "byte 13"),
        (br#"{"query":"a","limit":NaN}"#.to_vec(), (400, "invalid-json"), "byte"),
        (br#"{"query":"\ud800"}"#.to_vec(), (400, "invalid-json"), "byte"),
        (br#"{"query":"a","query":"a"}"#.to_vec(), (400, "duplicate-key"), "\"query\""),
        (br#"{"query":"a","qu\u0065ry":"b"}"#.to_vec(), (400, "duplicate-key"), "\"query\""),
        (
            br#"{"query":"a","filter":{"must":[],"must":[]}}"#.to_vec(),
            (400, "duplicate-key"),
            "\"must\"",
        ),
        (deep.into_bytes(), (400, "too-deep"), "64"),
        (large.into_bytes(), (413, "too-large"), "1048576 bytes"),
        (br#"{"query":"a\u0000"}"#.to_vec(), (400, "nul-in-text"), "U+0000"),
        (b"{\"query\":\"a\xff\"}".to_vec(), (400, "invalid-utf8"), "byte 11"),
        (limit("\"10\""), (400, "invalid-limit"), limit_rule),
        (limit("1.5"), (400, "invalid-limit"), limit_rule),
        (limit("0"), (400, "invalid-limit"), limit_rule),
        (limit("101"), (400, "invalid-limit"), limit_rule),
        (limit("-1"), (400, "invalid-limit"), limit_rule),
        (limit("1e400"), (400, "invalid-body"), "number out of range"),
        (limit("18446744073709551626"), (400, "invalid-limit"), limit_rule),
        (br#"{"query":"a","offset":-1}"#.to_vec(), (400, "invalid-offset"), "0 to 9900"),
        (br#"{"query":"a","mode":"sparse"}"#.to_vec(), (400, "invalid-mode"), "\"hybrid\""),
        (br#"{"query":"a","mode":1}"#.to_vec(), (400, "invalid-mode"), "\"hybrid\""),
        (
            br#"{"query":"a","minimum_score":"1"}"#.to_vec(),
            (400, "invalid-minimum-score"),
            "a number",
        ),
        (br#"{"query":"a","filter":[]}"#.to_vec(), (400, "invalid-filter"), "filter"),
        (br#"{"query":""}"#.to_vec(), (400, "invalid-query"), "blank"),
        (br#"{"query":" \t\n"}"#.to_vec(), (400, "invalid-query"), "blank"),
        (br#"{"query":7}"#.to_vec(), (400, "invalid-query"), "a string"),
        (b"{}".to_vec(), (400, "invalid-query"), "missing"),
        (b"[]".to_vec(), (400, "invalid-body"), "JSON object"),
        (br#"{"query":"a","limits":1}"#.to_vec(), (400, "unknown-field"), "'limits'"),
        (br#"{"query":"a","collection":"A/B"}"#.to_vec(), (400, "invalid-collection"), "a-z"),
        (br#"{"query":"a","collection":"other"}"#.to_vec(), (404, "unknown-collection"), "other"),
    ] {
        let what = shown(&body);
        let answer = fixture.server.client.post_bytes(SEARCH, JSON, body).await;
        fixture.refused(&what, &answer, problem, says).await;
    }
}

#[tokio::test]
async fn invalid_documents() {
    let fixture = Fixture::new().await;
    let good = r#"{"id":"second","text":"The second document."}"#;
    let batch = |document: &str| format!(r#"{{"documents":[{good},{document}]}}"#).into_bytes();
    let lines = |line: &[u8]| [good.as_bytes(), b"\n", line].concat();
    let deep =
        format!(r#"{{"id":"a","text":"b","metadata":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    let large = json!({ "id": "large", "text": "a ".repeat(1 << 19) + "a" }).to_string();
    let metadata = json!({ "id": "a", "text": "b", "metadata": { "a": "a".repeat(1 << 16) } });
    let long_id = json!({ "id": "i".repeat(513), "text": "b" }).to_string();
    let many = vec![r#"{"id":"a","text":"b"}"#; 1_001].join("\n").into_bytes();
    let invalid = (400, "invalid-document");
    for (kind, body, problem, says) in [
        (JSON, b"{".to_vec(), (400, "invalid-json"), "byte"),
        (JSON, b"{}".to_vec(), (400, "invalid-request"), "documents"),
        (JSON, br#"{"documents":[]}"#.to_vec(), (400, "empty-input"), "no documents"),
        (JSON, br#"{"documents":{}}"#.to_vec(), (400, "invalid-request"), "body"),
        (JSON, batch(r#"{"text":"b"}"#), invalid, "documents[1]: missing field `id`"),
        (JSON, batch(r#"{"id":"a"}"#), invalid, "documents[1]: missing field `text`"),
        (JSON, batch(r#"{"id":1,"text":"b"}"#), invalid, "documents[1]"),
        (JSON, batch(r#"{"id":"a","text":null}"#), invalid, "documents[1]"),
        (JSON, batch(r#"{"id":"a","text":"b","title":"c"}"#), invalid, "`title`"),
        (JSON, batch(r#"{"id":"a","text":"b","metadata":[]}"#), invalid, "an object"),
        (JSON, batch(r#"{"id":"","text":"b"}"#), invalid, "1 to 512 bytes"),
        (JSON, batch(&long_id), invalid, "1 to 512 bytes"),
        (JSON, batch(r#"{"id":"a\n","text":"b"}"#), invalid, "control characters"),
        (JSON, batch(r#"{"id":"a\u007f","text":"b"}"#), invalid, "control characters"),
        (JSON, batch(good), invalid, "'second' is given twice"),
        (JSON, batch(r#"{"id":"a","text":"b\u0000"}"#), (400, "nul-in-text"), "U+0000"),
        (JSON, batch(r#"{"id":"a","id":"b","text":"c"}"#), (400, "duplicate-key"), "\"id\""),
        (JSON, batch(&deep), (400, "too-deep"), "64"),
        (JSON, batch(&large), (413, "document-too-large"), "1048576 are allowed"),
        (JSON, batch(&metadata.to_string()), (413, "document-too-large"), "metadata"),
        (NDJSON, b"\n\n".to_vec(), (400, "empty-input"), "no documents"),
        (NDJSON, lines(b"{\"id\":\"a\""), (400, "invalid-json"), "Line 2"),
        (NDJSON, lines(b"\n{\"id\":\"a\"}"), invalid, "Line 3: missing field `text`"),
        (NDJSON, lines(b"[]"), invalid, "Line 2"),
        (NDJSON, lines(b"{\"id\":\"a\",\"text\":\"\xc3\"}"), (400, "invalid-utf8"), "Line 2"),
        (NDJSON, lines(b"{\"id\":\"a\",\"text\":\"\0\"}"), (400, "nul-in-text"), "Line 2"),
        (NDJSON, many, (413, "too-many-documents"), "1000"),
    ] {
        let what = shown(&body);
        let answer = fixture.server.client.post_bytes(DOCUMENTS, kind, body).await;
        fixture.refused(&what, &answer, problem, says).await;
    }
    let path = "/v1/collections/other/documents";
    let answer = fixture.server.client.post_bytes(path, NDJSON, good).await;
    fixture.refused("no collection", &answer, (404, "unknown-collection"), "PUT").await;
}

#[tokio::test]
async fn names_and_ids_in_paths() {
    let fixture = Fixture::new().await;
    let too_long = format!("/v1/collections/{}", "a".repeat(65));
    let long_id = format!("{DOCUMENTS}/{}", "a".repeat(513));
    let name = (400, "invalid-name");
    for (method, path, problem, says) in [
        ("PUT", "/v1/collections/Docs", name, "a-z"),
        ("PUT", "/v1/collections/-docs", name, "begins with"),
        ("PUT", "/v1/collections/d%C3%B6cs", name, "a-z"),
        ("PUT", "/v1/collections/a%2Fb", name, "'a/b'"),
        ("PUT", "/v1/collections/a%2fb", name, "'a/b'"),
        ("PUT", "/v1/collections/a%00", name, "a-z"),
        ("PUT", "/v1/collections/a%2561", name, "'a%61'"),
        ("PUT", &too_long, name, "1 to 64"),
        ("PUT", "/v1/collections/a%ff", (400, "invalid-path"), "UTF-8"),
        ("PUT", "/v1/collections/a%zz", (400, "invalid-path"), "hexadecimal"),
        ("GET", "/v1/collections/other", (404, "unknown-collection"), "'other'"),
        ("DELETE", "/v1/collections/other", (404, "unknown-collection"), "'other'"),
        ("DELETE", "/v1/collections/Docs", name, "a-z"),
        ("GET", &format!("{DOCUMENTS}/other"), (404, "unknown-document"), "'other'"),
        ("DELETE", &format!("{DOCUMENTS}/other"), (404, "unknown-document"), "'other'"),
        ("DELETE", &format!("{DOCUMENTS}/a%0A"), name, "control characters"),
        ("DELETE", &format!("{DOCUMENTS}/a%00"), name, "control characters"),
        ("DELETE", &long_id, name, "512"),
        ("DELETE", &format!("{DOCUMENTS}/a%ff"), (400, "invalid-path"), "UTF-8"),
        ("GET", "/v1/collections/other/documents/a", (404, "unknown-collection"), "'other'"),
        ("POST", "/v1/pipelines/other", (404, "unknown-pipeline"), "/v1/pipelines"),
        ("POST", "/v1/pipelines/Search", name, "pipeline"),
        ("POST", "/v1/pipelines/a%2Fb", name, "'a/b'"),
        ("GET", "/v1/pipelines/search", (400, "invalid-request"), "?json="),
        ("GET", "/v1/pipelines/search?json=1&json=1", (400, "invalid-request"), "once"),
        ("GET", "/v1/pipelines/search?json=%7B", (400, "invalid-json"), "byte 1"),
    ] {
        let answer = Answer::to(fixture.server.client.request(method, path)).await;
        fixture.refused(path, &answer, problem, says).await;
    }
    // Clients resolve these before they send a request.
    for path in ["/v1/collections/..", "/v1/collections/%2e%2e", "/v1/collections/."] {
        let mut raw = Raw::connect(fixture.server.address).await;
        raw.send(format!("DELETE {path} HTTP/1.1\r\nhost: weir\r\n\r\n")).await;
        let (head, body) = raw.answer().await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert!(head.starts_with("http/1.1 400"), "{path}: {head}");
        assert_eq!(problem["code"], "invalid-name", "{path}");
    }
    assert_eq!(Fixture::state(&fixture.server.client).await, fixture.before);
}

#[tokio::test]
async fn routes_methods_and_types() {
    let fixture = Fixture::new().await;
    let client = &fixture.server.client;
    for path in [
        "/",
        "/v1",
        "/v1/pipelines/",
        "/v1/pipelines/search/more",
        "/v1/collections/docs/",
        "/v1/collections/docs/documents/a/b",
        "/health",
        "/V1/pipelines",
    ] {
        let answer = client.get(path).await;
        fixture.refused(path, &answer, (404, "not-found"), path).await;
    }
    for (method, path, allowed) in [
        ("DELETE", SEARCH, ["GET", "HEAD", "POST", "QUERY"].as_slice()),
        ("PUT", SEARCH, &["GET", "HEAD", "POST", "QUERY"]),
        ("POST", "/v1/pipelines", &["GET", "HEAD"]),
        ("DELETE", "/v1/collections", &["GET", "HEAD"]),
        ("POST", "/v1/collections/docs", &["GET", "HEAD", "PUT", "DELETE"]),
        ("GET", DOCUMENTS, &["POST"]),
        ("PUT", &format!("{DOCUMENTS}/first"), &["GET", "HEAD", "DELETE"]),
        ("GET", "/v1/embeddings", &["POST"]),
        ("POST", "/health/liveness", &["GET", "HEAD"]),
        ("BREW", "/metrics", &["GET", "HEAD"]),
    ] {
        let answer = Answer::to(client.request(method, path)).await;
        let what = format!("{method} {path}");
        fixture.refused(&what, &answer, (405, "method-not-allowed"), method).await;
        let mut allow: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        allow.sort_unstable();
        let mut allowed = allowed.to_vec();
        allowed.sort_unstable();
        assert_eq!(allow, allowed, "{what}");
    }
    let body = r#"{"query":"a"}"#;
    for path in [SEARCH, DOCUMENTS, "/v1/embeddings"] {
        for kind in
            ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
        {
            let answer = client.post_bytes(path, kind, body).await;
            let problem = (415, "unsupported-media-type");
            fixture.refused(kind, &answer, problem, "application/json").await;
        }
        let answer = Answer::to(client.request("POST", path).body(body)).await;
        let problem = (415, "unsupported-media-type");
        fixture.refused("no type", &answer, problem, "application/json").await;
        let request = client.request("POST", path).header("content-type", JSON);
        let answer = Answer::to(request.header("content-encoding", "gzip").body(body)).await;
        let problem = (415, "unsupported-encoding");
        fixture.refused("gzip", &answer, problem, "encoding").await;
    }
}

#[tokio::test]
async fn invalid_idempotency_keys() {
    let fixture = Fixture::new().await;
    let client = &fixture.server.client;
    let put = async |key: &[u8], text: &str| {
        let body = json!({ "documents": [document("keyed", text)] }).to_string();
        let request = client.request("POST", DOCUMENTS).header("content-type", JSON);
        Answer::to(request.header("idempotency-key", key).body(body)).await
    };
    let long = "k".repeat(256);
    for key in [b"".as_slice(), b"a b", b"\xe4", long.as_bytes()] {
        let answer = put(key, "text").await;
        fixture.refused(&shown(key), &answer, (400, "invalid-header"), "visible ASCII").await;
    }
    put(b"key", "one text").await.assert_status(200);
    let before = Fixture::state(client).await;
    put(b"key", "another text").await.assert_problem(422, "idempotency-key-reused");
    // The same body to another collection is also another request.
    client.create("others").await;
    let body = json!({ "documents": [document("keyed", "one text")] }).to_string();
    let request = client.request("POST", "/v1/collections/others/documents");
    let request = request.header("content-type", JSON).header("idempotency-key", "key");
    Answer::to(request.body(body)).await.assert_problem(422, "idempotency-key-reused");
    assert_eq!(client.count("others").await, 0);
    client.delete("/v1/collections/others").await.assert_status(200);
    let stored = client.get(&format!("{DOCUMENTS}/keyed")).await;
    assert_eq!(stored.json()["text"], "one text");
    assert!(before.contains("\"documents\":2"), "{before}");
}
