//! Liveness, readiness and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use weir_runtime::tenant::Tenant;

use super::app::App;
use super::tenant::TenantOf;

/// Liveness: says only that the process answers.
pub(super) async fn liveness() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// Readiness: whether requests should be sent to this server, and how far the search index of
/// the requesting tenant is. It reports nothing about other tenants.
pub(super) async fn readiness(
    State(app): State<Arc<App>>,
    asked: Option<Extension<TenantOf>>,
) -> Response {
    let draining = app.lifecycle.is_draining();
    let mut body = json!({ "draining": draining });
    let mut ready = !draining;
    for tenant in app.tenants.iter() {
        let is_asked = asked.as_ref().is_some_and(|Extension(of)| of.0.name == tenant.name);
        let (healthy, details) = of_tenant(tenant).await;
        ready &= healthy;
        if is_asked && let Value::Object(body) = &mut body {
            body.extend(details);
        }
    }
    body["ready"] = ready.into();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn of_tenant(tenant: &Tenant) -> (bool, Map<String, Value>) {
    let truth = tenant.truth.position().await;
    let derived = tenant.documents.catch_up();
    if let Some(error) = &derived.last_error {
        // The text may name files, so it only goes to the log.
        let tenant = tenant.name.as_str();
        tracing::warn!(tenant, error, "not ready: the search index is not catching up");
    }
    let healthy = derived.last_error.is_none();
    let mut details = Map::new();
    let position = truth.as_ref().ok().map(|position| position.0);
    details.insert("truth".into(), json!({ "open": truth.is_ok(), "position": position }));
    let applied = derived.applied.0;
    details.insert("derived".into(), json!({ "healthy": healthy, "position": applied }));
    (truth.is_ok() && healthy, details)
}

/// The metrics in Prometheus' text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut response = app.metrics.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
