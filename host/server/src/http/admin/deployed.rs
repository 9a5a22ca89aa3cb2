//! `/admin/v1/pipelines` and `/admin/v1/policies`: what is deployed under each name, and how that changes.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_runtime::deploy::registry::{Applied, Candidate, RegistryError, Shown, Source, Spec};
use weir_runtime::deploy::split::SplitBy;
use weir_runtime::pipeline::canary::fisher::Share;
use weir_runtime::pipeline::canary::{Pair, Seen};
use weir_runtime::settings::Settings;
use weir_store::system::{Expected, HistoryEntry, Role};

use super::Admin;
use super::access::Administrator;
use super::audit::{Line, to_its_end};
use super::cache::read;
use crate::http::problem::{Problem, codes};

/// The body of a deployment.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deploy {
    /// The plugin.
    digest: PluginDigest,
    /// The cache policy of a pipeline. If it is omitted, the one that the pipeline has stays; `null` for none.
    #[serde(default, deserialize_with = "given")]
    policy: Option<Option<Name>>,
    /// The settings that differ from the manifest's defaults.
    #[serde(default)]
    settings: Settings,
    /// The part of a pipeline's requests that it answers, in percent. If it is omitted, all.
    weight_percent: Option<u8>,
    /// What requests are divided by.
    split_by: Option<SplitBy>,
    /// Whether it is rolled back by itself if it is worse; it is, by default.
    roll_back: Option<bool>,
}

/// Tells `null` from a key that is not there.
fn given<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<Name>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The routes of one role.
pub(super) struct Of<const IS_PIPELINE: bool>;

/// The routes of pipelines.
pub(super) type Pipelines = Of<true>;
/// The routes of policies.
pub(super) type Policies = Of<false>;

impl<const IS_PIPELINE: bool> Of<IS_PIPELINE> {
    const ROLE: Role = if IS_PIPELINE { Role::Pipeline } else { Role::Policy };

    /// Everything of this role.
    pub(super) async fn list(State(admin): State<Admin>) -> Json<Value> {
        let list = admin.app.registry.list(Self::ROLE).await;
        let key = if IS_PIPELINE { "pipelines" } else { "policies" };
        Json(json!({ key: list.iter().map(shown).collect::<Vec<_>>() }))
    }

    /// One, with what was deployed before.
    pub(super) async fn one(
        State(admin): State<Admin>,
        Path(name): Path<String>,
    ) -> Result<Response, Problem> {
        let name = named(name)?;
        let registry = &admin.app.registry;
        let history = registry.history(Self::ROLE, &name).await?;
        let list = registry.list(Self::ROLE).await;
        let Some(one) = list.iter().find(|one| one.name == name) else {
            let detail = format!("No {} '{name}' is deployed.", Self::ROLE);
            return Err(Problem::new(codes::UNKNOWN_DEPLOYMENT, detail));
        };
        let mut body = shown(one);
        body["history"] = history.iter().map(of_history).collect();
        if let Some(seen) = registry.seen(&name).await.filter(|_| IS_PIPELINE) {
            body["candidate"]["compared"] = compared(&seen);
        }
        Ok(answer(one.revision, body))
    }

    /// Puts a plugin in service under this name.
    pub(super) async fn deploy(
        State(admin): State<Admin>,
        Extension(by): Extension<Administrator>,
        Path(name): Path<String>,
        request: Request,
    ) -> Result<Response, Problem> {
        let name = named(name)?;
        let expected = expected(request.headers())?;
        let Deploy { digest, policy, settings, weight_percent, split_by, roll_back } =
            read(&admin.app, request).await?;
        let registry = &admin.app.registry;
        let policy = match policy {
            Some(policy) => policy,
            None => {
                let list = registry.list(Self::ROLE).await;
                list.into_iter().find(|one| one.name == name).and_then(|one| one.spec.policy)
            }
        };
        if weight_percent.is_some() && !IS_PIPELINE {
            return Err(no_weight());
        }
        if weight_percent.is_none() && (split_by.is_some() || roll_back.is_some()) {
            let detail = "'split_by' and 'roll_back' are about a part of the requests: add 'weight_percent'.";
            return Err(Problem::new(codes::INVALID_REQUEST, detail));
        }
        let (app, registry) = (Arc::clone(&admin.app), Arc::clone(registry));
        to_its_end(&admin.app, async move {
            let (deployed, detail) = match weight_percent {
                Some(weight_percent) => {
                    let candidate = Candidate {
                        digest,
                        policy,
                        settings,
                        weight_percent,
                        split_by: split_by.unwrap_or_default(),
                        roll_back: roll_back.unwrap_or(true),
                        base_revision: 0,
                    };
                    let tried = registry.try_out(name.clone(), candidate, expected, &by.by()).await;
                    (tried, format!("{digest} for {weight_percent} %"))
                }
                None => {
                    let source = Source::Admin;
                    let spec =
                        Spec { digest, policy, settings, candidate: None, source, allowed: None };
                    let deployed =
                        registry.deploy(Self::ROLE, name.clone(), spec, expected, &by.by()).await;
                    (deployed, digest.to_string())
                }
            };
            by.audit(&app, Self::line("deploy", &name, detail), outcome(&deployed)).await;
            Ok(changed(&name, deployed?))
        })
        .await
    }

    /// Removes what is deployed.
    pub(super) async fn undeploy(
        State(admin): State<Admin>,
        Extension(by): Extension<Administrator>,
        Path(name): Path<String>,
        headers: HeaderMap,
    ) -> Result<Response, Problem> {
        let name = named(name)?;
        let expected = expected(&headers)?;
        let (app, registry) = (Arc::clone(&admin.app), Arc::clone(&admin.app.registry));
        to_its_end(&admin.app, async move {
            let gone = registry.undeploy(Self::ROLE, name.clone(), expected, &by.by()).await;
            let line = Self::line("undeploy", &name, String::new());
            by.audit(&app, line, outcome(&gone)).await;
            Ok(changed(&name, gone?))
        })
        .await
    }

    /// Puts in service again what was before.
    pub(super) async fn roll_back(
        State(admin): State<Admin>,
        Extension(by): Extension<Administrator>,
        Path(name): Path<String>,
        headers: HeaderMap,
    ) -> Result<Response, Problem> {
        let name = named(name)?;
        let expected = expected(&headers)?;
        let (app, registry) = (Arc::clone(&admin.app), Arc::clone(&admin.app.registry));
        to_its_end(&admin.app, async move {
            let deployed = registry.roll_back(Self::ROLE, name.clone(), expected, &by.by()).await;
            let line = Self::line("rollback", &name, String::new());
            by.audit(&app, line, outcome(&deployed)).await;
            Ok(changed(&name, deployed?))
        })
        .await
    }

    fn line(action: &'static str, name: &Name, detail: String) -> Line {
        Line { action, target: format!("{} {name}", Self::ROLE), tenant: None, detail }
    }
}

/// How it ended, for the audit log.
fn outcome(deployed: &Result<u64, RegistryError>) -> String {
    match deployed {
        Ok(revision) => format!("revision {revision}"),
        Err(error) => error.to_string(),
    }
}

/// The name of a pipeline or a policy.
///
/// # Errors
/// It is none.
pub(super) fn named(name: String) -> Result<Name, Problem> {
    Name::new(&name)
        .map_err(|error| Problem::new(codes::INVALID_NAME, format!("'{name}': {error}.")))
}

/// What the client expects to be deployed, by `If-Match` and `If-None-Match`.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let text = |name| {
        headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim())
    };
    let invalid = || {
        let detail = "Send 'If-Match: \"REVISION\"' with the revision that is to be replaced, or 'If-None-Match: *' \
                      if there is to be none.";
        Problem::new(codes::INVALID_HEADER, detail)
    };
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (None | Some("*"), None) => Ok(Expected::Any),
        (None, Some("*")) => Ok(Expected::Absent),
        (Some(revision), None) => {
            let revision = revision.trim_matches('"').parse();
            revision.map(Expected::Revision).map_err(|_| invalid())
        }
        _ => Err(invalid()),
    }
}

fn shown(one: &Shown) -> Value {
    let mut shown = json!({
        "name": one.name.as_str(),
        "revision": one.revision,
        "digest": one.spec.digest,
        "settings": one.spec.settings,
        "source": one.spec.source,
        "drifted": one.drifted,
    });
    if one.role == Role::Pipeline {
        shown["policy"] = one.spec.policy.as_ref().map(Name::as_str).into();
        if let Some(candidate) = &one.spec.candidate {
            shown["candidate"] = json!(candidate);
        }
    }
    shown
}

/// Deploys what the configuration says, where something else is deployed.
pub(super) async fn apply(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
) -> Result<Json<Value>, Problem> {
    let app = Arc::clone(&admin.app);
    to_its_end(&admin.app, async move {
        let applied = app.registry.apply().await;
        let (target, detail) = ("weir.toml".to_owned(), String::new());
        let line = Line { action: "apply", target, tenant: None, detail };
        let ended = match &applied {
            Ok(applied) => format!("{} deployed", applied.len()),
            Err(error) => error.to_string(),
        };
        by.audit(&app, line, ended).await;
        let shown = |one: &Applied| {
            let (role, name) = (one.role.as_str(), one.name.as_str());
            json!({ "role": role, "name": name, "revision": one.revision })
        };
        Ok(Json(json!({ "applied": applied?.iter().map(shown).collect::<Vec<_>>() })))
    })
    .await
}

/// How the runs of a candidate compare with those of the base.
fn compared(seen: &Seen) -> Value {
    let Seen { failed, slow, slower_half, next_look } = seen;
    let of = |side: fn(&Pair) -> Share| {
        json!({
            "runs": side(failed).of,
            "failed": side(failed).with,
            "slow": side(slow).with,
            "in_slower_half": side(slower_half).with,
        })
    };
    json!({
        "base": of(|pair| pair.base),
        "candidate": of(|pair| pair.candidate),
        "next_look_at_runs": next_look,
    })
}

fn no_weight() -> Problem {
    let detail = "A policy decides for all requests of its pipelines. To try it on some, deploy it under another name \
                  and the pipeline with that policy and a weight.";
    Problem::new(codes::NOT_ALLOWED, detail)
}

fn of_history(entry: &HistoryEntry) -> Value {
    let spec = entry.spec.as_deref().and_then(|spec| serde_json::from_str::<Value>(spec).ok());
    json!({
        "revision": entry.revision,
        "unix_ms": entry.unix_ms,
        "by": entry.by,
        "deployed": spec,
    })
}

fn changed(name: &Name, revision: u64) -> Response {
    answer(revision, json!({ "name": name.as_str(), "revision": revision }))
}

fn answer(revision: u64, body: Value) -> Response {
    let mut response = Json(body).into_response();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}
