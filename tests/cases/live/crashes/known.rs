//! What a server has, as its answers say: a model of uploads, deployments and rollbacks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use weir_test_components::with_manifest;

use crate::harness::{Answer, Client, guest};

/// The pipeline that is deployed. Its policy is `default`.
pub(super) const PIPELINE: &str = "tested";
pub(super) const POLICY: &str = "default";
const MANIFEST: &str = include_str!("../../../guests/adjustable/plugin.toml");

/// The digest of a plugin with this content.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// What is done, over and over.
const STEPS: [Kind; 10] = [
    Kind::Upload,
    Kind::Deploy,
    Kind::Swap,
    Kind::Upload,
    Kind::Remove,
    Kind::Upload,
    Kind::Deploy,
    Kind::RollBack,
    Kind::Upload,
    Kind::Remove,
];

/// The kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Of a plugin.
    Upload,
    /// Of the plugin that was uploaded last, as the pipeline.
    Deploy,
    /// Of the policy, for one with another plan.
    Swap,
    /// Of the pipeline.
    RollBack,
    /// Of the plugin that was uploaded last.
    Remove,
}

impl Kind {
    pub(super) const ALL: [Self; 5] =
        [Self::Upload, Self::Deploy, Self::Swap, Self::RollBack, Self::Remove];
}

/// A change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Upload(Plugin),
    /// This, with a setting that says this.
    Deploy(String, u64),
    /// This, with another `key_epoch`.
    Swap(String, u64),
    RollBack,
    Remove(String),
}

/// A plugin that differs from others in its manifest.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    number: u64,
    digest: String,
}

impl Plugin {
    fn bytes(number: u64) -> Vec<u8> {
        let component = fs::read(guest("adjustable")).unwrap();
        with_manifest(&component, &format!("description = \"{number}\"\n{MANIFEST}"))
    }
}

impl Change {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Upload(_) => Kind::Upload,
            Self::Deploy(..) => Kind::Deploy,
            Self::Swap(..) => Kind::Swap,
            Self::RollBack => Kind::RollBack,
            Self::Remove(_) => Kind::Remove,
        }
    }

    pub(super) fn request(&self, client: &Client, token: &str) -> RequestBuilder {
        let pipeline = format!("/admin/v1/pipelines/{PIPELINE}");
        let with = |path: &str, body: Value| {
            let request = client.request("PUT", path).header("content-type", "application/json");
            request.body(body.to_string())
        };
        let request = match self {
            Self::Upload(plugin) => {
                client.request("POST", "/admin/v1/plugins").body(Plugin::bytes(plugin.number))
            }
            Self::Deploy(digest, says) => {
                let settings = json!({ "says": says });
                with(&pipeline, json!({ "digest": digest, "policy": POLICY, "settings": settings }))
            }
            Self::Swap(digest, epoch) => {
                let body = json!({ "digest": digest, "settings": { "key_epoch": epoch } });
                with(&format!("/admin/v1/policies/{POLICY}"), body)
            }
            Self::RollBack => client.request("POST", &format!("{pipeline}/rollback")),
            Self::Remove(digest) => {
                client.request("DELETE", &format!("/admin/v1/plugins/{digest}"))
            }
        };
        request.bearer_auth(token)
    }

    /// What its line of the audit log says: the action, and what to.
    fn logged(&self) -> (&'static str, String) {
        let of_pipeline = format!("pipeline {PIPELINE}");
        match self {
            Self::Upload(plugin) => ("upload", format!("plugin {}", plugin.digest)),
            Self::Deploy(..) => ("deploy", of_pipeline),
            Self::Swap(..) => ("deploy", format!("policy {POLICY}")),
            Self::RollBack => ("rollback", of_pipeline),
            Self::Remove(digest) => ("remove", format!("plugin {digest}")),
        }
    }
}

/// What is deployed under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deployed {
    pub(super) revision: u64,
    pub(super) digest: String,
    pub(super) settings: BTreeMap<String, String>,
}

/// What a server shows of what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The digests of the plugins that were uploaded.
    pub(super) stored: Vec<String>,
    pub(super) pipeline: Option<Deployed>,
    pub(super) policy: Deployed,
    /// What a rollback of the pipeline goes back to.
    pub(super) before: Option<(String, BTreeMap<String, String>)>,
}

impl State {
    pub(super) fn last_revision(&self) -> u64 {
        self.policy.revision.max(self.pipeline.as_ref().map_or(0, |of| of.revision))
    }

    /// The state after this change, which has this revision if it has one.
    pub(super) fn after(&self, change: &Change, revision: u64) -> Self {
        let mut state = self.clone();
        let setting =
            |name: &str, value: &u64| BTreeMap::from([(name.to_owned(), value.to_string())]);
        match change {
            Change::Upload(plugin) => state.stored.push(plugin.digest.clone()),
            Change::Remove(digest) => state.stored.retain(|stored| stored != digest),
            Change::Deploy(digest, says) => {
                let settings = setting("says", says);
                state.replace(Deployed { revision, digest: digest.clone(), settings });
            }
            Change::RollBack => {
                let (digest, settings) = state.before.clone().expect("there was another");
                state.replace(Deployed { revision, digest, settings });
            }
            Change::Swap(digest, epoch) => {
                let settings = setting("key_epoch", epoch);
                state.policy = Deployed { revision, digest: digest.clone(), settings };
            }
        }
        state.stored.sort_unstable();
        state
    }

    fn replace(&mut self, pipeline: Deployed) {
        let before = self.pipeline.replace(pipeline);
        self.before = before.map(|of| (of.digest, of.settings));
    }
}

/// What is known of a server.
pub(super) struct Known {
    pub(super) state: State,
    /// The change that was begun last and not answered.
    pub(super) begun: Option<Change>,
    /// The line of the audit log of the one that was answered last.
    pub(super) logged: Option<(&'static str, String)>,
    /// The policy of the configuration, which is stored and was not uploaded.
    pub(super) configured: String,
    /// How long changes took.
    pub(super) took: BTreeMap<Kind, Duration>,
    policy: String,
    last: Option<Plugin>,
    number: u64,
    step: usize,
}

impl Known {
    /// Of a server that has just been started, and shows this. A policy was pushed to it, which has this digest.
    pub(super) fn new(state: State, policy: String) -> Self {
        let configured = state.policy.digest.clone();
        Self {
            state,
            configured,
            policy,
            begun: None,
            logged: None,
            last: None,
            took: BTreeMap::new(),
            number: 0,
            step: 0,
        }
    }

    /// The next change of this kind.
    pub(super) fn change(&mut self, kind: Kind) -> Change {
        self.number += 1;
        let number = self.number;
        let last = || self.last.as_ref().expect("one was uploaded").digest.clone();
        match kind {
            Kind::Upload => {
                let digest = digest(&Plugin::bytes(number));
                self.last = Some(Plugin { number, digest });
                Change::Upload(self.last.clone().expect("it is this"))
            }
            Kind::Deploy => Change::Deploy(last(), number),
            Kind::Swap => Change::Swap(self.policy.clone(), number),
            Kind::RollBack => Change::RollBack,
            Kind::Remove => Change::Remove(last()),
        }
    }

    /// The change that is to be made next.
    pub(super) fn next(&mut self) -> Change {
        loop {
            let kind = STEPS[self.step % STEPS.len()];
            self.step += 1;
            let has_last = self.last.as_ref().is_some_and(|last| self.has_stored(&last.digest));
            // After a crash, what was to be deployed or removed may not be there.
            if has_last || !matches!(kind, Kind::Deploy | Kind::Remove) {
                return self.change(kind);
            }
        }
    }

    fn has_stored(&self, digest: &str) -> bool {
        self.state.stored.iter().any(|stored| stored == digest)
    }

    /// Notes the answer to a change.
    pub(super) fn answered(&mut self, change: Change, answer: &Answer) {
        let expected = if change.kind() == Kind::Upload { 201 } else { 200 };
        assert_eq!(answer.status, expected, "{change:?}: {}", answer.text());
        let revision = answer.json()["revision"].as_u64().unwrap_or(0);
        self.state = self.state.after(&change, revision);
        (self.begun, self.logged) = (None, Some(change.logged()));
    }

    /// Those that something needs, of what was uploaded.
    pub(super) fn needed(&self) -> Vec<String> {
        let State { pipeline, policy, before, .. } = &self.state;
        let now = pipeline.iter().map(|of| &of.digest);
        let before = before.iter().map(|(digest, _)| digest);
        let all: BTreeSet<_> = now.chain(before).chain([&policy.digest]).collect();
        all.into_iter().filter(|digest| self.has_stored(digest)).cloned().collect()
    }
}
