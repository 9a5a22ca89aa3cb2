//! The admin interface, which has a listener of its own: what the cache does and why, and what it is to
//! forget or to learn.
//!
//! Every request needs the administrator's token ([`access`]). [`cache`] has the routes, [`described`] reads
//! requests that an administrator describes, and [`explained`] shows explanations. Out of scope: what an
//! invalidation or an explanation is (`weir_runtime`).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::{Method, Uri};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::analytics::{self, Viewer};
use super::app::App;
use super::problem::Problem;
use super::router;

pub(super) mod access;
mod cache;
mod described;
mod explained;
mod warm;

pub(super) use self::cache::{Sender, clear};

/// What the routes share.
#[derive(Clone)]
struct Admin {
    app: Arc<App>,
    /// One list of requests is warmed at a time.
    warming: Arc<Semaphore>,
}

/// The routes of the admin listener.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/admin/v1/cache/invalidate", post(cache::invalidate))
        .route("/admin/v1/cache/explain", post(cache::explain))
        .route("/admin/v1/cache/warm", post(warm::warm))
        .route("/health/cache/analytics", get(all_analytics))
        .route("/health/cache/clear", post(clear_all))
        .fallback(async |uri: Uri| router::not_found(&uri))
        .method_not_allowed_fallback(async |method: Method| router::method_not_allowed(&method))
        .with_state(Admin { app, warming: Arc::new(Semaphore::new(1)) })
}

/// How the caches of all tenants are used.
async fn all_analytics(State(admin): State<Admin>) -> Json<Value> {
    Json(analytics::shown(&admin.app, admin.app.tenants.members(), Viewer::Admin))
}

async fn clear_all(
    State(admin): State<Admin>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    clear(&admin.app, &sender, request).await
}
