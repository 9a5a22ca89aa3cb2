//! What a server has, as it shows over HTTP and in its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::super::{listed, revision};
use super::known::{Deployed, Known, PIPELINE, POLICY, State, digest};
use crate::cases::asking::ask;
use crate::harness::{Answer, Server};

/// What the server shows.
pub(super) async fn state(server: &Server) -> State {
    let plugins = listed(server, "plugins").await["plugins"].clone();
    let mut stored: Vec<_> = plugins.as_array().unwrap().iter().map(digest_of).collect();
    stored.sort_unstable();
    let path = format!("/admin/v1/pipelines/{PIPELINE}");
    let shown = Answer::to(server.admin.request("GET", &path).bearer_auth(server.admin_token()));
    let shown = shown.await;
    let (pipeline, before) = match shown.status {
        404 => (None, None),
        _ => {
            shown.assert_status(200);
            let shown = shown.json();
            let now = (digest_of(&shown), settings_of(&shown));
            let history = shown["history"].as_array().unwrap().iter();
            let specs = history.map(|entry| &entry["deployed"]);
            let mut all = specs.map(|spec| (digest_of(spec), settings_of(spec)));
            let before = all.find(|entry| *entry != now);
            (Some(deployed(&shown)), before)
        }
    };
    let policy = deployed(&listed(server, &format!("policies/{POLICY}")).await);
    State { stored, pipeline, policy, before }
}

fn digest_of(shown: &Value) -> String {
    shown["digest"].as_str().unwrap_or_else(|| panic!("no digest: {shown}")).to_owned()
}

fn settings_of(shown: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(shown["settings"].clone()).unwrap()
}

fn deployed(shown: &Value) -> Deployed {
    let revision = shown["revision"].as_u64().unwrap();
    Deployed { revision, digest: digest_of(shown), settings: settings_of(shown) }
}

/// Asserts that the pipeline answers with what is deployed, and says so.
pub(super) async fn assert_served(server: &Server, state: &State) {
    let answer = ask(&server.client, PIPELINE, &json!({})).await;
    match &state.pipeline {
        None => answer.assert_problem(404, "unknown-pipeline"),
        Some(Deployed { settings, .. }) => {
            answer.assert_status(200);
            assert_eq!(answer.json()["says"].to_string(), settings["says"], "{state:?}");
            assert_eq!(revision(&answer), state.last_revision(), "{state:?}");
        }
    }
}

/// Asserts that a change is in the audit log, the last but for those that were not answered.
pub(super) async fn assert_logged(server: &Server, change: Option<&(&'static str, String)>) {
    let Some((action, target)) = change else { return };
    let lines = listed(server, "audit?limit=3").await["entries"].clone();
    let mut lines = lines.as_array().unwrap().iter();
    assert!(
        lines.any(|line| line["action"] == **action && line["target"] == **target),
        "{action} {target}: {lines:?}"
    );
}

/// Asserts that the folder has nothing but whole plugins and what a removal of all that nothing needs removes.
pub(super) async fn assert_nothing_is_left(server: &Server, known: &mut Known) {
    let data = server.folder().join("data");
    let plugins = data.join("plugins");
    for name in names(&plugins) {
        let bytes = fs::read(plugins.join(&name)).unwrap();
        assert_eq!(digest(&bytes), name, "{}", server.log());
    }
    let is_unfinished = |name: &String| name.contains("unfinished") || name.contains("tmp");
    assert!(!names(&data.join("compiled")).iter().any(is_unfinished));
    assert!(!names(&data).iter().any(is_unfinished));

    server
        .administer("plugins/collect", &json!({ "uploaded_before_s": 0 }))
        .await
        .assert_status(200);
    // The removals have lines in the audit log, too.
    (known.state.stored, known.logged) = (known.needed(), None);
    assert_eq!(state(server).await.stored, known.state.stored);
    let needed = known.state.stored.iter().chain([&known.configured]).cloned();
    assert_eq!(names(&plugins), needed.collect::<BTreeSet<_>>());
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}
