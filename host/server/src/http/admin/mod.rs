//! The admin interface, which has a listener of its own: what the cache does and why, and what it is to
//! forget or to learn.
//!
//! Every request needs the administrator's token ([`access`]). [`cache`] has the routes, [`described`] reads
//! requests that an administrator describes, and [`explained`] shows explanations. Out of scope: what an
//! invalidation or an explanation is (`weir_runtime`).

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use http::{Method, Uri};
use tokio::sync::Semaphore;

use super::app::App;
use super::router;

pub(super) mod access;
mod cache;
mod described;
mod explained;
mod warm;

pub(super) use self::cache::Sender;

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
        .fallback(async |uri: Uri| router::not_found(&uri))
        .method_not_allowed_fallback(async |method: Method| router::method_not_allowed(&method))
        .with_state(Admin { app, warming: Arc::new(Semaphore::new(1)) })
}
