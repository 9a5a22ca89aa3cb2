//! The admin interface, which has a listener of its own: what the cache does and why, what it is to
//! forget or to learn, and what is deployed.
//!
//! Every request needs a token that allows its route ([`access`]). [`cache`] has the routes of the cache, [`described`]
//! reads requests that an administrator describes, and [`explained`] shows explanations. [`plugins`] and
//! [`deployed`] are about what is served, [`shadow`] about policies that are only tried, [`logs`] is what is logged, and
//! [`refused`] is why something is not served. [`tokens`] are those that administrators make for others, and
//! [`audit`] is what they all have done. Out of scope: what an invalidation or an explanation is (`weir_runtime`).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::{MethodRouter, delete, get, post, put};
use axum::{Extension, Json, Router, middleware};
use http::{Method, Uri};
use serde_json::Value;
use tokio::sync::Semaphore;
use weir_store::system::TokenScope::{Cache, Deploy, Policy, Read};

use self::access::Needs::{self, Root, Server, Tenant};
use self::access::{Administrator, allow};
use self::deployed::{Pipelines, Policies};
use super::analytics::{self, Viewer};
use super::app::App;
use super::body::Room;
use super::problem::Problem;
use super::router;

pub(super) mod access;
mod audit;
mod cache;
mod deployed;
mod described;
mod explained;
mod logs;
mod plugins;
mod refused;
mod shadow;
mod tokens;
mod warm;

pub(super) use self::access::Sender;
pub(super) use self::cache::clear;

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
    /// The right to follow a log.
    followers: logs::Followers,
}

/// What `/health/cache/clear` needs, on both listeners.
pub(super) const CLEAR: Needs = Tenant(Cache);

/// A route: its method, its path, what it needs, and what answers it.
type Route = (&'static str, &'static str, Needs, MethodRouter<Admin>);

/// All routes of the admin listener. What is not here, nobody may do.
fn routes() -> Vec<Route> {
    let (digest, upload) = ("/admin/v1/plugins/{digest}", Server(&[Deploy, Policy]));
    let (pipeline, policy) = ("/admin/v1/pipelines/{name}", "/admin/v1/policies/{name}");
    let (back, policy_back) =
        ("/admin/v1/pipelines/{name}/rollback", "/admin/v1/policies/{name}/rollback");
    let shadow = "/admin/v1/policies/{name}/shadow";
    let (reads, deploys, decides) = (Server(&[Read]), Server(&[Deploy]), Server(&[Policy]));
    vec![
        ("POST", "/admin/v1/cache/invalidate", Tenant(Cache), post(cache::invalidate)),
        ("POST", "/admin/v1/cache/explain", Tenant(Read), post(cache::explain)),
        ("POST", "/admin/v1/cache/warm", Tenant(Cache), post(warm::warm)),
        ("GET", "/health/cache/analytics", Tenant(Read), get(all_analytics)),
        ("POST", "/health/cache/clear", CLEAR, post(clear_all)),
        ("GET", "/admin/v1/plugins", reads, get(plugins::list)),
        ("POST", "/admin/v1/plugins", upload, post(plugins::upload)),
        ("GET", digest, reads, get(plugins::one)),
        ("DELETE", digest, deploys, delete(plugins::remove)),
        ("POST", "/admin/v1/plugins/collect", deploys, post(plugins::collect)),
        ("GET", "/admin/v1/pipelines", reads, get(Pipelines::list)),
        ("GET", pipeline, reads, get(Pipelines::one)),
        ("PUT", pipeline, deploys, put(Pipelines::deploy)),
        ("DELETE", pipeline, deploys, delete(Pipelines::undeploy)),
        ("POST", back, deploys, post(Pipelines::roll_back)),
        ("GET", "/admin/v1/pipelines/{name}/logs", Tenant(Read), get(logs::read)),
        ("GET", "/admin/v1/policies", reads, get(Policies::list)),
        ("GET", policy, reads, get(Policies::one)),
        ("PUT", policy, decides, put(Policies::deploy)),
        ("DELETE", policy, decides, delete(Policies::undeploy)),
        ("POST", policy_back, decides, post(Policies::roll_back)),
        ("GET", shadow, reads, get(shadow::report)),
        ("POST", shadow, decides, post(shadow::begin)),
        ("DELETE", shadow, decides, delete(shadow::end)),
        ("POST", "/admin/v1/apply", Root, post(deployed::apply)),
        ("GET", "/admin/v1/tokens", reads, get(tokens::list)),
        ("POST", "/admin/v1/tokens", Root, post(tokens::make)),
        ("DELETE", "/admin/v1/tokens/{id}", Root, delete(tokens::revoke)),
        ("GET", "/admin/v1/audit", Tenant(Read), get(audit::list)),
    ]
}

/// The router of the admin listener.
pub(super) fn router(app: Arc<App>) -> Router {
    let add = |router: Router<Admin>, (_, path, needs, handler): Route| {
        router.route(path, handler.route_layer(middleware::from_fn_with_state(needs, allow)))
    };
    routes()
        .into_iter()
        .fold(Router::new(), add)
        .fallback(async |uri: Uri| router::not_found(&uri))
        .method_not_allowed_fallback(async |method: Method| router::method_not_allowed(&method))
        .with_state(Admin {
            uploads: Arc::new(Room::new(UPLOADS_AT_ONCE * app.registry.max_component_bytes())),
            app,
            warming: Arc::new(Semaphore::new(1)),
            followers: logs::followers(),
        })
}

/// How the caches are used of all tenants that the token is for.
async fn all_analytics(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
) -> Json<Value> {
    let viewer = if by.is_for_all() { Viewer::Admin } else { Viewer::Tenant };
    let members = admin.app.tenants.members().filter(|member| by.is_for(&member.tenant.name));
    Json(analytics::shown(&admin.app, members, viewer))
}

async fn clear_all(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    clear(&admin.app, by, request).await
}

/// What a route needs, for tests.
#[cfg(test)]
pub(super) struct Needed {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
}

/// What each route needs.
#[cfg(test)]
pub(super) fn needed() -> impl Iterator<Item = Needed> {
    routes().into_iter().map(|(method, path, needs, _)| Needed { method, path, needs })
}
