//! `/admin/v1/plugins`: which plugins are stored, and more of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_core::digest::PluginDigest;
use weir_runtime::deploy::registry::{Need, Needs, RegistryError, Stored};

use super::Admin;
use super::access::Administrator;
use super::audit::{DONE, Line, to_its_end};
use super::cache::read;
use crate::http::body::ChargedBody;
use crate::http::problem::{Problem, codes};

/// Checks a plugin and stores it. Answers 201 with its digest, or 200 if it was stored before.
pub(super) async fn upload(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let app = &admin.app;
    let mut limits = app.body_limits();
    limits.max_bytes = app.registry.max_component_bytes();
    let reader = app.tenants.members().next().map(|member| &member.tenant.name);
    let reader = reader.ok_or_else(|| Problem::internal("there is no tenant"))?;
    let body = admin.uploads.read(reader, body, &head.headers, limits).await?;
    let served = Arc::clone(app);
    to_its_end(app, async move {
        let ChargedBody { bytes, held } = body;
        let uploaded = served.registry.upload(bytes, &by.by()).await;
        drop(held);
        let digest = uploaded.as_ref().ok().map(|stored| stored.digest);
        by.audit(&served, line("upload", digest), outcome(&uploaded)).await;
        let stored = uploaded?;
        let status = if stored.is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, Json(shown(&stored))).into_response())
    })
    .await
}

/// All plugins, the newest upload first.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let registry = &admin.app.registry;
    let (stored, needs) = (registry.stored().await?, registry.needs().await?);
    let shown = stored.iter().map(|stored| shown_with(stored, &needs));
    Ok(Json(json!({ "plugins": shown.collect::<Vec<_>>() })))
}

/// One plugin.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path(digest): Path<String>,
) -> Result<Json<Value>, Problem> {
    let (digest, registry) = (parsed(&digest)?, &admin.app.registry);
    let (stored, needs) = (registry.stored().await?, registry.needs().await?);
    let found = stored.iter().find(|stored| stored.digest == digest);
    found
        .map(|stored| Json(shown_with(stored, &needs)))
        .ok_or_else(|| RegistryError::UnknownPlugin(digest).into())
}

/// Removes a plugin that nothing needs.
pub(super) async fn remove(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    Path(digest): Path<String>,
) -> Result<Json<Value>, Problem> {
    let digest = parsed(&digest)?;
    let app = Arc::clone(&admin.app);
    to_its_end(&admin.app, async move {
        let removed = app.registry.remove(digest).await;
        by.audit(&app, line("remove", Some(digest)), outcome(&removed)).await;
        removed?;
        Ok(Json(json!({ "removed": [digest] })))
    })
    .await
}

/// The body of a collection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Collect {
    /// How long ago they were uploaded, at least.
    #[serde(default = "a_day_s")]
    uploaded_before_s: u64,
    /// Say which, and remove none.
    #[serde(default)]
    only_say: bool,
}

fn a_day_s() -> u64 {
    24 * 60 * 60
}

/// Removes all plugins that nothing needs.
pub(super) async fn collect(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let Collect { uploaded_before_s, only_say } = read(&admin.app, request).await?;
    let before = Duration::from_secs(uploaded_before_s);
    let app = Arc::clone(&admin.app);
    to_its_end(&admin.app, async move {
        let unused = app.registry.remove_unused(before, only_say).await;
        if only_say {
            return Ok(Json(json!({ "unused": unused? })));
        }
        match &unused {
            Ok(removed) => {
                for digest in removed {
                    by.audit(&app, line("remove", Some(*digest)), DONE.to_owned()).await;
                }
            }
            Err(error) => by.audit(&app, line("remove", None), error.to_string()).await,
        }
        Ok(Json(json!({ "removed": unused? })))
    })
    .await
}

/// Of a plugin that was known, or of those that are stored.
fn line(action: &'static str, digest: Option<PluginDigest>) -> Line {
    let target = digest.map_or_else(|| "plugin".to_owned(), |digest| format!("plugin {digest}"));
    Line { action, target, tenant: None, detail: String::new() }
}

/// How it ended, for the audit log.
fn outcome<T>(done: &Result<T, RegistryError>) -> String {
    done.as_ref().map_or_else(ToString::to_string, |_| DONE.to_owned())
}

fn parsed(digest: &str) -> Result<PluginDigest, Problem> {
    digest.parse().map_err(|error| {
        Problem::new(codes::INVALID_REQUEST, format!("'{digest}' is not a digest: {error}."))
    })
}

fn shown_with(stored: &Stored, needs: &Needs) -> Value {
    let need = |need: &Need| json!({ "role": need.role.as_str(), "name": need.name.as_str(), "reason": need.reason.as_str() });
    let mut shown = shown(stored);
    shown["needed_by"] = needs.get(&stored.digest).into_iter().flatten().map(need).collect();
    shown
}

fn shown(stored: &Stored) -> Value {
    json!({
        "digest": stored.digest,
        "name": stored.name,
        "version": stored.version,
        "role": stored.role.as_str(),
        "bytes": stored.bytes,
        "uploaded_unix_ms": stored.uploaded_unix_ms,
    })
}
