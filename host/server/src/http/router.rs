//! All routes except those of pipelines.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{Method, Uri};
use serde_json::{Value, json};

use super::app::App;
use super::problem::{Problem, codes};
use super::tenant::TenantOf;
use super::{documents, embeddings, health};

/// The routes of `app`, and `more`.
pub(super) fn router(app: Arc<App>, more: Router<Arc<App>>) -> Router {
    Router::new()
        .route("/v1/pipelines", get(pipelines))
        .route("/v1/collections", get(documents::collections))
        .route(
            "/v1/collections/{collection}",
            get(documents::collection)
                .put(documents::create_collection)
                .delete(documents::drop_collection),
        )
        .route("/v1/collections/{collection}/documents", post(documents::put))
        .route(
            "/v1/collections/{collection}/documents/{id}",
            get(documents::document).delete(documents::delete),
        )
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/health/liveness", get(health::liveness))
        .route("/health/readiness", get(health::readiness))
        .route("/health/services", get(health::services))
        .route("/metrics", get(health::metrics))
        .merge(more)
        .fallback(async |uri: Uri| not_found(&uri))
        .method_not_allowed_fallback(async |method: Method| method_not_allowed(&method))
        .with_state(app)
}

async fn pipelines(State(app): State<Arc<App>>, TenantOf(tenant): TenantOf) -> Json<Value> {
    Json(json!({ "pipelines": app.deployments.current().names(&tenant.name) }))
}

/// The answer when no route matches `uri`.
pub(super) fn not_found(uri: &Uri) -> Problem {
    let path = uri.path().escape_debug();
    Problem::new(codes::NOT_FOUND, format!("There is nothing at {path}."))
}

/// The answer when the route exists but does not support `method`.
pub(super) fn method_not_allowed(method: &Method) -> Problem {
    let detail =
        format!("{method} is not allowed here; the Allow header lists the allowed methods.");
    Problem::new(codes::METHOD_NOT_ALLOWED, detail)
}
