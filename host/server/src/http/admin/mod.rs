//! The admin interface, which has a listener of its own: what the cache does and why, what it is to
//! forget or to learn, and what is deployed.
//!
//! Every request needs the administrator's token ([`access`]). [`cache`] has the routes of the cache, [`described`]
//! reads requests that an administrator describes, and [`explained`] shows explanations. [`plugins`] and
//! [`deployed`] are about what is served, and [`refused`] is why something is not. Out of scope: what an
//! invalidation or an explanation is (`weir_runtime`).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::{Method, Uri};
use serde_json::Value;
use tokio::sync::Semaphore;

use self::deployed::{Pipelines, Policies};
use super::analytics::{self, Viewer};
use super::app::App;
use super::body::Room;
use super::problem::Problem;
use super::router;

pub(super) mod access;
mod cache;
mod deployed;
mod described;
mod explained;
mod plugins;
mod refused;
mod warm;

pub(super) use self::cache::{Sender, clear};

/// How many of the largest plugins are held at once.
const UPLOADS_AT_ONCE: usize = 2;

/// What the routes share.
#[derive(Clone)]
struct Admin {
    app: Arc<App>,
    /// One list of requests is warmed at a time.
    warming: Arc<Semaphore>,
    /// The memory for plugins that are uploaded.
    uploads: Arc<Room>,
}

/// The routes of the admin listener.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/admin/v1/cache/invalidate", post(cache::invalidate))
        .route("/admin/v1/cache/explain", post(cache::explain))
        .route("/admin/v1/cache/warm", post(warm::warm))
        .route("/admin/v1/plugins", get(plugins::list).post(plugins::upload))
        .route("/admin/v1/plugins/{digest}", get(plugins::one).delete(plugins::remove))
        .route("/admin/v1/plugins/collect", post(plugins::collect))
        .route("/admin/v1/pipelines", get(Pipelines::list))
        .route(
            "/admin/v1/pipelines/{name}",
            get(Pipelines::one).put(Pipelines::deploy).delete(Pipelines::undeploy),
        )
        .route("/admin/v1/pipelines/{name}/rollback", post(Pipelines::roll_back))
        .route("/admin/v1/policies", get(Policies::list))
        .route(
            "/admin/v1/policies/{name}",
            get(Policies::one).put(Policies::deploy).delete(Policies::undeploy),
        )
        .route("/admin/v1/policies/{name}/rollback", post(Policies::roll_back))
        .route("/admin/v1/apply", post(deployed::apply))
        .route("/health/cache/analytics", get(all_analytics))
        .route("/health/cache/clear", post(clear_all))
        .fallback(async |uri: Uri| router::not_found(&uri))
        .method_not_allowed_fallback(async |method: Method| router::method_not_allowed(&method))
        .with_state(Admin {
            uploads: Arc::new(Room::new(UPLOADS_AT_ONCE * app.registry.max_component_bytes())),
            app,
            warming: Arc::new(Semaphore::new(1)),
        })
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
