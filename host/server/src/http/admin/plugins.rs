//! `/admin/v1/plugins`: which plugins are stored, and more of them.

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
use super::cache::{ADMINISTRATOR, Sender, read};
use crate::http::body::ChargedBody;
use crate::http::problem::{Problem, codes};

/// Checks a plugin and stores it. Answers 201 with its digest, or 200 if it was stored before.
pub(super) async fn upload(
    State(admin): State<Admin>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let app = &admin.app;
    let mut limits = app.body_limits();
    limits.max_bytes = app.registry.max_component_bytes();
    let reader = app.tenants.members().next().map(|member| &member.tenant.name);
    let reader = reader.ok_or_else(|| Problem::internal("there is no tenant"))?;
    let body = admin.uploads.read(reader, body, &head.headers, limits).await?;
    let ChargedBody { bytes, held } = body;
    let uploaded = app.registry.upload(bytes, ADMINISTRATOR).await;
    drop(held);
    let target = uploaded.as_ref().map(|stored| stored.digest.to_string()).unwrap_or_default();
    sender.audit(app, "upload", &target, uploaded.as_ref().err()).await;
    let stored = uploaded?;
    let status = if stored.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(&stored))).into_response())
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
    Extension(sender): Extension<Sender>,
    Path(digest): Path<String>,
) -> Result<Json<Value>, Problem> {
    let digest = parsed(&digest)?;
    let removed = admin.app.registry.remove(digest).await;
    sender.audit(&admin.app, "remove", &digest.to_string(), removed.as_ref().err()).await;
    removed?;
    Ok(Json(json!({ "removed": [digest] })))
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
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let Collect { uploaded_before_s, only_say } = read(&admin.app, request).await?;
    let before = Duration::from_secs(uploaded_before_s);
    let unused = admin.app.registry.remove_unused(before, only_say).await;
    if !only_say {
        let digests = unused.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        sender.audit(&admin.app, "remove", &digests.join(" "), unused.as_ref().err()).await;
    }
    let key = if only_say { "unused" } else { "removed" };
    Ok(Json(json!({ key: unused? })))
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
