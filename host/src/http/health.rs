//! Liveness, readiness and metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::respond::Response;
use crate::app::App;

/// The process answers: that is all that it says.
pub(super) async fn liveness() -> Json<Value> {
    Json(json!({ "status": "live" }))
}

/// Whether requests should be sent here, and how far the derived stores are.
pub(super) async fn readiness(State(app): State<Arc<App>>) -> Response {
    let truth = app.documents.truth().position().await;
    let derived = app.documents.catch_up();
    let draining = app.lifecycle.is_draining();
    let ready = truth.is_ok() && derived.last_error.is_none() && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if let Some(error) = &derived.last_error {
        // The text may name files: it is the log's.
        tracing::warn!(error, "not ready: the derived stores do not catch up");
    }
    let body = json!({
        "ready": ready,
        "draining": draining,
        "truth": { "open": truth.is_ok(), "position": truth.ok().map(|position| position.0) },
        "derived": { "healthy": derived.last_error.is_none(), "position": derived.applied.0 },
    });
    (status, Json(body)).into_response()
}

/// Prometheus' text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut response = app.metrics.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
