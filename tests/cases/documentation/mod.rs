//! Checks that the code blocks of the documents do what the documents say.
//!
//! | block | what happens to it |
//! |---|---|
//! | `sh` | bash runs it, in order, against a server that stands in for the demo; see `shell` |
//! | `text`, right after an `sh` block | what that block must print; see `output` |
//! | `toml` | `weir check` must accept it, and the blocks after it run against a server with it |
//! | `json` | must parse, apart from what `…` leaves out |
//! | any with `same-as=` | must be the code of that file |
//! | any with `file=` | `cargo xtask test` has built its crate, outside the repository |
//! | any other | must be listed in [`NOT_RUN`] with a reason; otherwise the test fails |

mod configuration;
mod output;
mod shell;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use weir_documentation::{Block, blocks, packages};

use self::configuration::Documented;
use crate::harness::outside;

/// Blocks that are not run here: the document, the first line, and the reason.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "$ cargo xtask demo", "CI runs it as a separate stage"),
    (
        "CONTRIBUTING.md",
        "$ cargo xtask test    # set up, build the server, plugins and guests, run every test",
        "it runs this",
    ),
    (
        "docs/benchmarks.md",
        "$ cargo xtask bench instructions --pin \"Hits carry a header more: Age\"",
        "it changes what is pinned",
    ),
    (
        "docs/benchmarks.md",
        "$ TOKIO_WORKER_THREADS=1 valgrind --tool=callgrind target/release/weir serve --config \
         weir.toml",
        "it needs valgrind, and takes minutes",
    ),
    (
        "docs/benchmarks.md",
        "{\"t_ms\": 5, \"op\": \"query\", \"body\": {\"query\": \"…\", \"mode\": \"hybrid\", \"limit\": 10, \
         \"collection\": \"cranfield\"}}",
        "it is the format of a trace, which no command prints",
    ),
    (
        "docs/benchmarks.md",
        "$ ../shared/data/trace/make --seconds 600 --rate 200 --write-every 60 > trace.ndjson",
        "it needs what is next to the checkout, and takes ten minutes",
    ),
    ("docs/comparison.md", "$ cargo xtask compare", "it installs Python packages"),
    (
        "README.md",
        "$ export WEIR_ADMIN_URL=http://127.0.0.1:8081 WEIR_ADMIN_TOKEN_FILE=data/admin-token",
        "`cases::authoring` runs it, with cargo",
    ),
    (
        "docs/authoring.md",
        "$ export WEIR_ADMIN_URL=http://127.0.0.1:8081 WEIR_ADMIN_TOKEN_FILE=data/admin-token",
        "the same",
    ),
    (
        "docs/authoring.md",
        "$ weir plugin dev --set greeting=Hi",
        "the same, and it does not end by itself",
    ),
    (
        "docs/deploying.md",
        "$ export WEIR_ADMIN_URL=http://127.0.0.1:8081 WEIR_ADMIN_TOKEN_FILE=data/admin-token",
        "`cases::live` runs these commands, with components of its own",
    ),
    ("docs/deploying.md", "$ weir plugin rollback hello", "the same"),
    ("docs/deploying.md", "$ weir plugin gc --dry-run", "the same"),
    ("docs/shadow.md", "$ weir plugin push target/new_policy.wasm", "the same"),
    (
        "docs/shadow.md",
        "$ ../shared/data/trace/make > trace.ndjson",
        "it needs what is next to the checkout, and takes twenty minutes",
    ),
    (
        "docs/deploying.md",
        "$ weir plugin logs hello --follow",
        "the same, and it does not end by itself",
    ),
    ("docs/deploying.md", "$ weir plugin deploy hello 4be1… --weight 5", "the same"),
    (
        "docs/containment.md",
        "$ cargo xtask soak neighbours                       # all attacks, 20 seconds each",
        "it takes ten minutes, and a machine that is idle",
    ),
    (
        "docs/configuration.md",
        "$ weir check --config weir.toml    # says everything that is wrong, and serves nothing",
        "the tests here run both commands",
    ),
    (
        "docs/configuration.md",
        "[server.tls]",
        "it names files that are not there; `cases::tls` serves with some",
    ),
    (
        "docs/configuration.md",
        "Authorization: Bearer weir_…",
        "it is a header, which the tests of tenants send",
    ),
    (
        "docs/plugin-toml.md",
        "name = \"handbook-search\"",
        "it is not a configuration; the tests of weir_runtime::plugin read it",
    ),
    (
        "docs/plugin-toml.md",
        "$ weir plugin test target/handbook-search.wasm",
        "`cases::trials` runs it, with components of its own",
    ),
    (
        "examples/search/README.md",
        "$ cargo xtask setup          # the model, ONNX Runtime, a way to build plugins",
        "CI runs both commands, and the test serves this configuration",
    ),
    (
        "examples/languages/javascript/README.md",
        "$ npm install @bytecodealliance/componentize-js@0.23.0",
        "it installs npm packages",
    ),
    (
        "examples/languages/python/README.md",
        "$ python3 -m venv venv && venv/bin/pip install componentize-py==0.25.1",
        "it installs Python packages",
    ),
    (
        "plugins/README.md",
        "$ weir plugin build --path handbook",
        "`cargo xtask test` builds the crate with the same code",
    ),
];

/// Documents with their own test; `all_others` tests the rest.
const WITH_CASES: [&str; 5] = [
    "README.md",
    "plugins/README.md",
    "examples/search/README.md",
    "docs/http.md",
    "docs/configuration.md",
];

#[tokio::test]
async fn readme() {
    assert_true("README.md").await;
}

#[tokio::test]
async fn plugins() {
    assert_true("plugins/README.md").await;
}

#[tokio::test]
async fn example_of_search() {
    assert_true("examples/search/README.md").await;
}

#[tokio::test]
async fn http() {
    assert_true("docs/http.md").await;
}

#[tokio::test]
async fn configuration() {
    assert_true("docs/configuration.md").await;
}

#[tokio::test]
async fn all_others() {
    let documents = documents();
    for named in WITH_CASES {
        assert!(documents.contains(named), "{named} has a test, but does not exist");
    }
    for document in documents.iter().filter(|document| !WITH_CASES.contains(&document.as_str())) {
        assert_true(document).await;
    }
}

/// The documents that users read, by their paths in the repository.
fn documents() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (folder, is_deep) in [("", false), ("docs", true), ("examples", true), ("plugins", true)] {
        collect(&repository().join(folder), is_deep, &mut found);
    }
    found
}

fn collect(folder: &Path, is_deep: bool, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type().unwrap())).unwrap();
        // Skip what was built or installed in an example's folder.
        let is_foreign = ["node_modules", "target", "venv"].iter().any(|name| path.ends_with(name));
        if kind.is_dir() && is_deep && !is_foreign {
            collect(&path, is_deep, found);
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "md") {
            let path = path.strip_prefix(repository()).unwrap();
            found.insert(path.to_str().unwrap().to_owned());
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    let file = repository().join(path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Asserts that every block of the document is as it should be.
async fn assert_true(document: &str) {
    let all = blocks(&read(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
    let built = packages(&all).unwrap_or_else(|error| panic!("{document}: {error}"));
    for package in built {
        let component = outside(&package.name);
        assert!(component.is_file(), "{document}: {} was not built", package.name);
    }
    let not_run: Vec<_> = NOT_RUN.iter().filter(|(of, ..)| *of == document).collect();
    for (_, first_line, _) in &not_run {
        let is_there = all.iter().any(|block| block.first_line() == *first_line);
        assert!(is_there, "NOT_RUN lists a block that {document} does not have: {first_line}");
    }
    let is_run = |block: &&Block| !not_run.iter().any(|(_, line, _)| *line == block.first_line());
    let mut documented = Documented::new(document);
    let mut rest = all.iter().filter(is_run).filter(|block| block.file.is_none()).peekable();
    while let Some(block) = rest.next() {
        let place = format!("{document}:{}", block.line);
        match (block.language.as_str(), &block.same_as) {
            (_, Some(path)) => assert_is_code(&place, &block.text, path),
            ("toml", None) => documented.configure(&place, &block.text).await,
            ("json", None) => assert_is_json(&place, &block.text),
            ("sh", None) => {
                let printed = rest.next_if(|next| next.language == "text");
                documented.run(block, printed);
            }
            (language, _) => panic!(
                "{place}: nothing here can run this block of '{language}': {}\n\
                 A `text` block must come right after an `sh` block. List a block that cannot be run \
                 here in NOT_RUN, with a reason",
                block.first_line(),
            ),
        }
    }
    documented.finish().await;
}

/// Asserts that `text` is the code of the file, without doc comments and surrounding blank lines.
fn assert_is_code(place: &str, text: &str, path: &str) {
    let file = read(path);
    let is_code = |line: &&str| !["//!", "///"].iter().any(|mark| line.trim().starts_with(mark));
    let code: Vec<_> = file.lines().filter(is_code).collect();
    assert_eq!(text.trim(), code.join("\n").trim(), "{place} is not the code of {path}");
}

fn assert_is_json(place: &str, text: &str) {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(&without_elisions(text)) {
        panic!("{place} is not JSON: {error}");
    }
}

/// Removes each `…` outside of strings, which stands for any members or elements, together with
/// the comma in front of it.
fn without_elisions(text: &str) -> String {
    let mut kept = String::new();
    let (mut is_string, mut is_escaped) = (false, false);
    for character in text.chars() {
        if character == '…' && !is_string {
            kept.truncate(kept.trim_end().trim_end_matches(',').len());
            continue;
        }
        is_string ^= character == '"' && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        kept.push(character);
    }
    kept
}

#[test]
fn elisions_are_removed_from_json() {
    for (text, expected) in [
        (r#"{"a": 1, …}"#, r#"{"a": 1}"#),
        (r#"[…]"#, "[]"),
        (r#"{"a": "x, …\"…"}"#, r#"{"a": "x, …\"…"}"#),
        (r#"{"a": […, …], …}"#, r#"{"a": []}"#),
    ] {
        assert_eq!(without_elisions(text), expected);
    }
}
