//! Liveness, readiness, the services that the server uses, and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use weir_runtime::tenant::Tenant;

use super::app::App;
use super::tenant::TenantOf;
use crate::telemetry::{guards, latencies};

/// The most lagging collections that readiness names.
const MAX_LAGGING: usize = 20;
/// The most documents that it names which are set aside.
const MAX_SET_ASIDE: u32 = 20;

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
    let truth = tenant.truth.head().await;
    let derived = tenant.documents.catch_up();
    let name = tenant.name.as_str();
    if let Some(error) = &derived.last_error {
        // The text may name files, so it only goes to the log.
        tracing::warn!(tenant = name, error, "not ready: the search index is not catching up");
    }
    let lag = derived.lag();
    let max_lag = tenant.documents.limits().max_ready_lag;
    if lag > max_lag {
        tracing::warn!(
            tenant = name,
            lag,
            max_lag,
            "not ready: the search index is too far behind"
        );
    }
    let healthy = derived.last_error.is_none() && !derived.rebuilding && lag <= max_lag;
    let mut details = Map::new();
    let position = truth.as_ref().ok().map(|head| head.position.0);
    // Questions are answered as before, so this does not make the server unready.
    let writable = tenant.truth.is_writable();
    let truth_details =
        json!({ "open": truth.is_ok(), "writable": writable, "position": position });
    details.insert("truth".into(), truth_details);
    let lagging: Vec<_> = derived
        .lagging
        .iter()
        .take(MAX_LAGGING)
        .map(|one| {
            let (applied, target) = (one.applied.0, one.target.0);
            json!({ "collection": one.collection.as_str(), "position": applied, "target": target })
        })
        .collect();
    let (applied, next) = (derived.applied.0, derived.next);
    let mut derived =
        json!({ "healthy": healthy, "position": applied, "lag": lag, "lagging": lagging });
    if let Some(next) = next {
        if let Some(error) = &next.last_error {
            tracing::warn!(tenant = name, error, "the index for the next model is stalled");
        }
        derived["next"] = json!({
            "model": next.model,
            "position": next.applied.0,
            "lagging": next.lagging,
            "stalled": next.last_error.is_some(),
        });
    }
    if let Some(set_aside) = set_aside(tenant).await {
        derived["set_aside"] = set_aside;
    }
    details.insert("derived".into(), derived);
    (truth.is_ok() && healthy, details)
}

/// The documents that are set aside, if there are any. They are the tenant's to mend, and nobody
/// else's requests fail because of them, so they do not make the server unready.
async fn set_aside(tenant: &Tenant) -> Option<Value> {
    let all = match tenant.truth.documents_set_aside(MAX_SET_ASIDE).await {
        Ok(all) => all,
        Err(error) => {
            let tenant = tenant.name.as_str();
            tracing::warn!(tenant, %error, "the documents that are set aside cannot be listed");
            return None;
        }
    };
    let first: Vec<_> = all
        .first
        .iter()
        .map(|one| {
            let (collection, id, reason) = (one.collection.as_str(), one.id.as_str(), &*one.reason);
            json!({ "collection": collection, "id": id, "reason": reason })
        })
        .collect();
    (all.documents > 0).then(|| json!({ "documents": all.documents, "first": first }))
}

/// What the server uses and can go on without, and whether it works. It says nothing about tenants.
pub(super) async fn services(State(app): State<Arc<App>>) -> Json<Value> {
    let tier = &app.shared_tier;
    let services: Vec<_> = tier
        .worst_state()
        .map(|state| json!({ "service": "shared-tier", "backend": tier.backend, "state": state }))
        .into_iter()
        .collect();
    Json(json!({ "services": services }))
}

/// The metrics in Prometheus' text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    let mut text = app.metrics.render();
    latencies::write(&mut text, &app.deployments.current());
    guards::write(&mut text, &app.shared_tier);
    let mut response = text.into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
