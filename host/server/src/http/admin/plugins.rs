//! `/admin/v1/plugins`: which plugins are stored, and more of them.

use axum::Extension;
use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};
use weir_core::digest::PluginDigest;
use weir_runtime::deploy::registry::{RegistryError, Stored};

use super::Admin;
use super::cache::{ADMINISTRATOR, Sender};
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
    let stored = admin.app.registry.stored().await?;
    Ok(Json(json!({ "plugins": stored.iter().map(shown).collect::<Vec<_>>() })))
}

/// One plugin.
pub(super) async fn one(
    State(admin): State<Admin>,
    Path(digest): Path<String>,
) -> Result<Json<Value>, Problem> {
    let digest: PluginDigest = digest.parse().map_err(|error| {
        Problem::new(codes::INVALID_REQUEST, format!("'{digest}' is not a digest: {error}."))
    })?;
    let stored = admin.app.registry.stored().await?;
    let found = stored.iter().find(|stored| stored.digest == digest);
    found
        .map(|stored| Json(shown(stored)))
        .ok_or_else(|| RegistryError::UnknownPlugin(digest).into())
}

fn shown(stored: &Stored) -> Value {
    json!({
        "digest": stored.digest,
        "name": stored.name,
        "version": stored.version,
        "role": stored.role.as_str(),
        "bytes": stored.bytes,
    })
}
