//! Plugins that are tried over an empty tenant: by their authors, with `weir plugin test`, and at their upload.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::asking::ask;
use crate::harness::{Answer, Ended, Server, document, guest, plugin, weir};

/// A folder with a manifest.
struct Author {
    _folder: TempDir,
    manifest: PathBuf,
}

impl Author {
    fn of(role: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("plugin.toml");
        let text = format!(
            "name = \"tried\"\nversion = \"1.0.0\"\nrole = \"{role}\"\nwit = \"0.2.0\"\n{more}\n"
        );
        fs::write(&manifest, text).unwrap();
        Self { _folder: folder, manifest }
    }
}

/// Runs `weir plugin test` on a pipeline with these lines in its manifest.
async fn test(component: &Path, more: &str, arguments: &[&str]) -> Ended {
    test_of("pipeline", component, more, arguments).await
}

async fn test_of(role: &str, component: &Path, more: &str, arguments: &[&str]) -> Ended {
    let author = Author::of(role, more);
    let mut all = vec!["plugin", "test", text(component), "--manifest", text(&author.manifest)];
    all.extend(arguments);
    weir(&all).await
}

/// Uploads a pipeline with these lines in its manifest.
async fn upload(server: &Server, component: &Path, more: &str) -> Answer {
    let author = Author::of("pipeline", more);
    let manifest = fs::read_to_string(&author.manifest).unwrap();
    let bytes = with_section(fs::read(component).unwrap(), &manifest);
    let request = server.admin.request("POST", "/admin/v1/plugins");
    Answer::to(request.bearer_auth(server.admin_token()).body(bytes)).await
}

/// A component with the manifest as its custom section, as any tool would add it.
fn with_section(mut component: Vec<u8>, manifest: &str) -> Vec<u8> {
    let name = b"weir:manifest";
    let mut content = leb(name.len());
    content.extend(name);
    content.extend(manifest.as_bytes());
    component.push(0);
    component.extend(leb(content.len()));
    component.extend(content);
    component
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number > 0 { low | 0x80 } else { low });
        if number == 0 {
            return bytes;
        }
    }
}

async fn stored(server: &Server) -> Value {
    let request = server.admin.request("GET", "/admin/v1/plugins");
    let answer = Answer::to(request.bearer_auth(server.admin_token())).await;
    answer.assert_status(200);
    answer.json()["plugins"].clone()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const ECHOED: &str = r#"
[[cases]]
name = "what is sent comes back"
body = { a = 1, b = [1.0] }
expect = { status = 200, body = { a = 1 }, headers = { content-type = "application/json" } }

[[cases]]
name = "something else comes back"
body = { a = { b = 1 } }
expect = { status = 404, body = { a = { b = 2 }, c = 3 } }

[[samples]]
body = {}
"#;

#[tokio::test]
async fn a_case_is_answered_as_expected_or_the_difference_is_said() {
    let ended = test(&plugin("echo"), ECHOED, &[]).await;
    assert_eq!(
        ended.stdout,
        "ok      what is sent comes back (200)\n\
         FAILED  something else comes back (plugin.toml:11)\n        \
         status: expected 404, found 200\n        \
         body.a.b: expected 2, found 1\n        \
         body.c: expected 3, found nothing\n\
         ok      samples[0] (200)\n\
         tried 1.0.0: 2 ok, 1 failed\n"
    );
    ended.assert_refused(&["1 of 3 failed"]);
    let ended = test(&plugin("echo"), ECHOED, &["--filter", "what is"]).await;
    assert!(ended.success, "{ended:?}");
    assert!(ended.stdout.ends_with("tried 1.0.0: 1 ok, 0 failed\n"), "{}", ended.stdout);
    let ended = test(&plugin("echo"), ECHOED, &["--filter", "waht"]).await;
    ended.assert_refused(&["--filter waht"]);
    let ended = test(&plugin("echo"), ECHOED, &["--json"]).await;
    assert!(!ended.success);
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(2), &json!(1)), "{report}");
    let difference = json!({ "path": "body.a.b", "expected": "2", "found": "1" });
    assert_eq!(report["tests"][1]["differences"][1], difference);
}

#[tokio::test]
async fn a_case_sees_a_failure_as_a_client_does() {
    for (component, more, found) in [
        (
            "bad-failure",
            "body = { code = 'not-today', message = 'm' }\nexpect = { status = 500, body = { code = 'not-today', \
             detail = 'm' }, headers = { content-type = 'application/problem+json' } }",
            "ok ",
        ),
        ("trap", "body = {}\nexpect = { body.code = 'pipeline-trapped' }", "ok "),
        ("trap", "body = {}\nexpect.status = 200", "(the pipeline trapped: "),
        (
            "reads-header",
            "body = {}\nquery = 'a=b'\nheaders.X-Flavour = 'salt'\nexpect.body.flavour = 'salt'",
            "ok ",
        ),
    ] {
        let ended = test(&guest(component), &format!("[[cases]]\nname = 'c'\n{more}"), &[]).await;
        assert!(ended.stdout.contains(found), "{component}: {ended:?}");
    }
}

/// With a setting, a collection that is granted by its name, and one that is not.
#[tokio::test]
async fn granted_collections_are_empty_and_others_unknown() {
    let manifest = r#"
[grants]
collections.read = ["books", "notes-*"]
embedding = {}
settings = true
[settings.mode]
type = "string"
description = "The mode"
[[cases]]
name = "granted by its name"
body = { query = "q", collection = "books" }
expect = { status = 200, body = { results = [], mode = "keyword" } }
[[cases]]
name = "granted by a prefix"
body = { query = "q", collection = "notes-1" }
expect = { status = 404, body = { code = "unknown-collection" } }
[[cases]]
name = "not granted"
body = { query = "q", collection = "secrets" }
expect = { status = 403, body = { code = "collection-not-granted" } }
"#;
    let search = plugin("search");
    test(&search, manifest, &[]).await.assert_refused(&["settings.mode: must be set", "--set"]);
    let ended = test(&search, manifest, &["--set", "mode=keyword"]).await;
    assert!(ended.success, "{ended:?}");
    // Without a model, what embeds has no answer, and no vector is made up.
    let ended = test(&search, manifest, &["--set", "mode=hybrid", "--filter", "its name"]).await;
    assert!(ended.stdout.contains("there is no model here: --config"), "{ended:?}");
    assert!(ended.stdout.contains("status: expected 200, found 500"), "{ended:?}");
    let sample = format!("{manifest}\n[[samples]]\nbody = {{ query = 'q', collection = 'books' }}");
    let ended = test(&search, &sample, &["--set", "mode=dense", "--filter", "samples"]).await;
    assert!(ended.success && ended.stdout.contains("0 failed, 1 skipped"), "{ended:?}");
}

#[tokio::test]
async fn no_request_sees_what_another_has_written() {
    let case = |name: &str| {
        format!(
            "[[cases]]\nname = '{name}'\nbody = {{ collection = 'docs', id = 'a', text = '' }}\n\
             expect = {{ status = 200, body = {{ position = 2 }} }}\n"
        )
    };
    let manifest = format!("grants.collections.write = ['docs']\n{}{}", case("one"), case("two"));
    let ended = test(&guest("writer"), &manifest, &[]).await;
    assert!(ended.success, "{ended:?}");
}

#[tokio::test]
async fn a_policy_is_loaded_and_its_plan_shown() {
    let ended = test_of("policy", &guest("policy-header"), "", &[]).await;
    assert!(ended.success && ended.stdout.contains("the key is made of "), "{ended:?}");
    let ended = test_of("policy", &guest("policy-impure"), "", &[]).await;
    ended.assert_refused(&["a policy imports nothing"]);
    let ended = test_of("policy", &plugin("echo"), "", &[]).await;
    ended.assert_refused(&["does not have the right world"]);
}

#[tokio::test]
async fn what_cannot_handle_its_samples_is_not_stored() {
    let server = Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    let sample = "[[samples]]\nbody = { code = 'broken', message = 'm' }\n";
    for (component, limits, says) in [
        ("trap", "", "samples[0]: the pipeline trapped"),
        ("bad-failure", "", "samples[0]: the pipeline failed with Failed (broken): m"),
        ("recurse", "", "stack overflowed"),
        (
            "loop-forever",
            "limits.deadline_ms = 300\n",
            "samples[0]: the pipeline took longer than its deadline of 300 ms: do less, or ask for more with \
             limits.deadline_ms",
        ),
        (
            "allocate-forever",
            "limits.max_memory_bytes = 4194304\n",
            "samples[0]: the pipeline asked for more than 4194304 bytes of memory: use less, or ask for more",
        ),
    ] {
        let refused = upload(&server, &guest(component), &format!("{limits}{sample}")).await;
        refused.assert_problem(422, "sample-failed");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(says), "{component}: {detail}");
        let line = if limits.is_empty() { 5 } else { 6 };
        assert!(detail.contains(&format!("plugin.toml:{line}: ")), "{component}: {detail}");
        assert!(detail.contains("`weir plugin test`"), "{component}: {detail}");
    }
    // All that fail are named.
    let two = upload(&server, &guest("trap"), &format!("{sample}{sample}")).await;
    assert!(two.json()["detail"].as_str().unwrap().contains("samples[1]"), "{two:?}");
    assert_eq!(stored(&server).await, json!([]));
    ask(&server.client, "echo", &json!({ "a": 1 })).await.assert_status(200);
}

#[tokio::test]
async fn a_sample_reads_and_writes_nothing_of_a_tenant() {
    let server = Server::with(|config| {
        config.search();
    })
    .await;
    server.client.create("docs").await;
    server.client.ingest("docs", &[document("bread", "Bread is made of flour.")]).await;
    let before = server.client.get("/v1/collections/docs").await.json();
    let writes = "grants.collections.write = ['docs']\n[[samples]]\n\
                  body = { collection = 'docs', id = 'new', text = 'flour' }\n";
    upload(&server, &guest("writer"), writes).await.assert_status(201);
    assert_eq!(server.client.get("/v1/collections/docs").await.json(), before);
    // Not found is an answer, and so is what a model of the server has embedded.
    let searches = "grants = { embedding = {}, settings = true, collections = { read = ['*'] } }\n\
                    [[samples]]\nbody = { query = 'flour', collection = 'docs' }\n";
    upload(&server, &plugin("search"), searches).await.assert_status(201);
    let reads = "grants.collections.read = ['docs']\ngrants.logging = true\n\
                 [[samples]]\nbody = { collection = 'docs', text = 'flour' }\n";
    upload(&server, &guest("slow-reader"), reads).await.assert_status(201);
    assert_eq!(stored(&server).await.as_array().unwrap().len(), 3);
}

/// Neither does it keep the next upload waiting.
#[tokio::test]
async fn all_samples_together_have_one_budget() {
    let server = Server::with(|config| {
        config.set("engine.samples_timeout_ms", 500);
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    let sample = "[[samples]]\nbody = 1\n";
    let refused = upload(&server, &guest("loop-forever"), &sample.repeat(2)).await;
    refused.assert_problem(422, "sample-failed");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    for index in 0..2 {
        let late =
            format!("samples[{index}]: it was not answered within the 500 ms for all samples");
        assert!(detail.contains(&late), "{detail}");
    }
    upload(&server, &plugin("echo"), sample).await.assert_status(201);
}

/// Nobody knows with which values it would be deployed.
#[tokio::test]
async fn a_plugin_with_a_setting_that_must_be_set_is_not_tried() {
    let server = Server::with(|config| {
        config.pipeline("echo", &plugin("echo"), &[]);
    })
    .await;
    let sample = "[settings.a]\ntype = 'string'\ndescription = 'd'\n[[samples]]\nbody = 1\n";
    upload(&server, &guest("trap"), sample).await.assert_status(201);
}
