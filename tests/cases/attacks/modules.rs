//! Modules that no compiler produces: with as many globals as there may be, and with start functions
//! that trap or do not end. They are guests of `tests/guests/raw` to which a section is added.

use std::fs;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use super::super::asking::{ask, assert_via};
use crate::harness::{Client, Server, guest, plugin};

const GLOBAL: u8 = 6;
const START: u8 = 8;
/// The section of a component that has a module.
const MODULE: u8 = 1;
/// Of modules and components.
const HEADER_BYTES: usize = 8;
/// As many as a module may have.
const MILLION: u32 = 1_000_000;
/// So many fit into the memory that the pool has for an instance.
const MANY: u32 = 50_000;

/// A number as in the binary format (LEB128).
fn number(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A section of a module or a component: its number, and its contents.
type Section = (u8, Vec<u8>);

fn sections(mut bytes: &[u8]) -> Vec<Section> {
    let mut sections = Vec::new();
    bytes = &bytes[HEADER_BYTES..];
    while let [id, rest @ ..] = bytes {
        let (mut length, mut shift, mut rest) = (0, 0, rest);
        while let [byte, after @ ..] = rest {
            (length, shift, rest) = (length | usize::from(byte & 0x7f) << shift, shift + 7, after);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (contents, after) = rest.split_at(length);
        sections.push((*id, contents.to_vec()));
        bytes = after;
    }
    sections
}

fn joined(header: &[u8], sections: Vec<Section>) -> Vec<u8> {
    let section = |(id, contents): Section| {
        [vec![id], number(u32::try_from(contents.len()).unwrap()), contents].concat()
    };
    let sections: Vec<u8> = sections.into_iter().flat_map(section).collect();
    [header, &sections].concat()
}

/// The component `name` with a section more in its only module. It is in the folder.
fn with_section(name: &str, id: u8, contents: &[u8]) -> (TempDir, PathBuf) {
    let bytes = fs::read(guest(name)).unwrap();
    let with_section = |(of_component, bytes): Section| match of_component {
        MODULE => {
            let mut module = sections(&bytes);
            let place = module.iter().position(|(other, _)| *other > id).unwrap();
            module.insert(place, (id, contents.to_vec()));
            (of_component, joined(&bytes[..HEADER_BYTES], module))
        }
        _ => (of_component, bytes),
    };
    let changed = sections(&bytes).into_iter().map(with_section).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("{name}.wasm"));
    fs::write(&path, joined(&bytes[..HEADER_BYTES], changed)).unwrap();
    (folder, path)
}

/// So many globals, each of an `i32.const 0`.
fn globals(count: u32) -> Vec<u8> {
    [number(count), [0x7f, 0x00, 0x41, 0x00, 0x0b].repeat(count as usize)].concat()
}

async fn assert_echoes(client: &Client, pipeline: &str) {
    let request = json!({ "still": "there" });
    assert_eq!(ask(client, pipeline, &request).await.json(), request);
}

/// Hosts `echo` under this policy, and once more without one.
async fn under(policy: &Path) -> Server {
    Server::with(|config| {
        config
            .policy("raw", policy)
            .pipeline("it", &plugin("echo"), &[])
            .set("pipelines.it.policy", "raw")
            .pipeline("echo", &plugin("echo"), &[]);
    })
    .await
}

#[tokio::test]
async fn a_million_globals_are_refused() {
    let globals = globals(MILLION);
    let (_folder, policy) = with_section("policy", GLOBAL, &globals);
    let ended = Server::refused(|config| {
        config.policy("raw", &policy);
    });
    ended.await.assert_refused(&["[policies.raw]", "policy.wasm needs more", "exceeds"]);
    let (_folder, pipeline) = with_section("waits-for-nothing", GLOBAL, &globals);
    let ended = Server::refused(|config| {
        config.pipeline("raw", &pipeline, &[]);
    });
    ended.await.assert_refused(&[
        "[pipelines.raw]",
        "waits-for-nothing.wasm needs more",
        "exceeds",
    ]);
}

#[tokio::test]
async fn as_many_globals_as_there_is_room_for_are_harmless() {
    let (_folder, policy) = with_section("policy", GLOBAL, &globals(MANY));
    let server = under(&policy).await;
    let client = &server.client;
    for number in 0..100 {
        let answer = ask(client, "it", &json!(number)).await;
        assert_via(&answer, "weir; fwd=miss; detail=tiers");
        assert_eq!(answer.json(), json!(number));
    }
    assert_echoes(client, "echo").await;
}

#[tokio::test]
async fn a_policy_whose_start_does_not_return_is_refused() {
    for (function, says) in [(0, "unreachable"), (1, "fuel")] {
        let (_folder, policy) = with_section("policy", START, &[function]);
        let ended = Server::refused(|config| {
            config.policy("raw", &policy);
        });
        ended.await.assert_refused(&["the policy 'raw' failed", says]);
    }
}

/// A pipeline has an instance for each request, so its start function runs with each of them. There
/// are few slots, so this passes only if each is free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_whose_start_does_not_return_ends_its_own_requests() {
    for (function, status, code) in [(1, 500, "pipeline-trapped"), (2, 504, "deadline-exceeded")] {
        let (_folder, pipeline) = with_section("waits-for-nothing", START, &[function]);
        let server = Server::with(|config| {
            config
                .pipeline("it", &pipeline, &[])
                .pipeline("echo", &plugin("echo"), &[])
                .set("pipelines.it.deadline_ms", 500)
                .set("engine.max_concurrent_guests", 4)
                .set("engine.queue_timeout_ms", 60_000);
        })
        .await;
        let client = &server.client;
        for _ in 0..3 {
            let asked = (0..4).map(async |number| ask(client, "it", &json!(number)).await);
            let (answers, ()) = futures::join!(join_all(asked), assert_echoes(client, "echo"));
            for answer in answers {
                answer.assert_problem(status, code);
            }
        }
        assert_echoes(client, "echo").await;
    }
}
