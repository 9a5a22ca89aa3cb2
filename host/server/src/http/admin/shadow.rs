//! `/admin/v1/policies/{name}/shadow`: a candidate for a policy that decides on live traffic without effect, and
//! what it has found out.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_core::digest::PluginDigest;
use weir_core::name::Name;
use weir_runtime::deploy::registry::{InShadow, RegistryError, Source, Spec};
use weir_runtime::settings::Settings;

use super::Admin;
use super::access::Administrator;
use super::audit::{Line, to_its_end};
use super::cache::read;
use super::deployed::named;
use crate::http::problem::Problem;

/// The body that begins one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Candidate {
    /// The plugin.
    digest: PluginDigest,
    /// The settings that differ from the manifest's defaults.
    #[serde(default)]
    settings: Settings,
}

/// Begins to try a candidate.
pub(super) async fn begin(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    Path(name): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let name = named(name)?;
    let Candidate { digest, settings } = read(&admin.app, request).await?;
    let source = Source::Admin;
    let spec = Spec { digest, policy: None, settings, candidate: None, source, allowed: None };
    let app = Arc::clone(&admin.app);
    to_its_end(&admin.app, async move {
        let begun = app.registry.shadow(name.clone(), spec).await;
        by.audit(&app, line("shadow", &name, digest.to_string()), outcome(&begun)).await;
        begun?;
        Ok((StatusCode::CREATED, Json(json!({ "policy": name.as_str(), "digest": digest }))))
    })
    .await
}

/// What it has found out so far.
pub(super) async fn report(
    State(admin): State<Admin>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let name = named(name)?;
    let tried = admin.app.registry.shadow_report(&name).await?;
    shown(name.as_str(), &tried)
}

/// Ends it, and answers with what it has found out.
pub(super) async fn end(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let name = named(name)?;
    let app = Arc::clone(&admin.app);
    to_its_end(&admin.app, async move {
        let ended = app.registry.end_shadow(&name).await;
        by.audit(&app, line("end-shadow", &name, String::new()), outcome(&ended)).await;
        shown(name.as_str(), &ended?)
    })
    .await
}

fn line(action: &'static str, name: &Name, detail: String) -> Line {
    Line { action, target: format!("policy {name}"), tenant: None, detail }
}

/// How it ended, for the audit log.
fn outcome<T>(done: &Result<T, RegistryError>) -> String {
    match done {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn shown(policy: &str, InShadow { digest, report }: &InShadow) -> Result<Json<Value>, Problem> {
    let mut shown = serde_json::to_value(report)
        .map_err(|error| RegistryError::Failed(format!("the report is not JSON: {error}")))?;
    shown["policy"] = policy.into();
    shown["digest"] = digest.as_str().into();
    Ok(Json(shown))
}
