//! `/admin/v1/cache`: what to invalidate, and what a request would be answered with.

use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::{Request, State};
use http_body::Body as _;
use serde::Deserialize;
use serde_json::{Value, json};
use weir_core::name::Name;
use weir_runtime::tenant::invalidation::what::What;

use super::access::Administrator;
use super::audit::{Line, to_its_end};
use super::described::{Described, member};
use super::{Admin, explained};
use crate::http::app::App;
use crate::http::body::ChargedBody;
use crate::http::json;
use crate::http::problem::{Problem, codes};

/// What the audit log calls the cache.
pub(super) const TARGET: &str = "cache";

/// The body of `invalidate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalidate {
    what: What,
    /// Only for this tenant; for all of them if it is omitted.
    tenant: Option<Name>,
    /// Whether policies decide for how long it may still be served, as after a change.
    #[serde(default)]
    soft: bool,
}

/// Has nothing served any more that was made before. Answers when that holds for all later requests.
pub(super) async fn invalidate(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let Invalidate { what, tenant, soft } = read(&admin.app, request).await?;
    what.check().map_err(|error| {
        Problem::new(
            codes::INVALID_REQUEST,
            format!("what: {}", json::sentence(&error.to_string())),
        )
    })?;
    end(&admin.app, by, what, tenant.as_ref(), soft).await
}

/// The body of `clear`, if it has one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clear {
    /// Only for this tenant; for all of them if it is omitted.
    tenant: Option<Name>,
}

/// Has nothing served any more that was made before, whatever it is. Answers when that holds for all later
/// requests.
pub(in crate::http) async fn clear(
    app: &Arc<App>,
    by: Administrator,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let is_empty = request.body().is_end_stream();
    let Clear { tenant } = if is_empty { Clear::default() } else { read(app, request).await? };
    end(app, by, What::Everything, tenant.as_ref(), false).await
}

/// Invalidates `what` for one tenant, or for all, and puts that into the audit log.
async fn end(
    app: &Arc<App>,
    by: Administrator,
    what: What,
    tenant: Option<&Name>,
    soft: bool,
) -> Result<Json<Value>, Problem> {
    let members: Vec<_> = match tenant {
        Some(name) => vec![Arc::clone(member(app, &by, Some(name))?)],
        None => {
            by.check_tenant(None)?;
            app.tenants.members().cloned().collect()
        }
    };
    let text = serde_json::to_string(&what).unwrap_or_default();
    let detail = if soft { format!("{text}, soft") } else { text };
    let served = Arc::clone(app);
    to_its_end(app, async move {
        let mut invalidated = Vec::new();
        for member in members {
            let tenant = &member.tenant;
            let at = tenant.invalidate(&what, soft).await;
            let outcome = match &at {
                Ok(at) => format!("position {}", at.0),
                Err(error) => error.to_string(),
            };
            let line = Line {
                action: "invalidate",
                target: TARGET.to_owned(),
                tenant: Some(tenant.name.clone()),
                detail: detail.clone(),
            };
            by.audit(&served, line, outcome).await;
            invalidated.push(json!({ "tenant": tenant.name.as_str(), "position": at?.0 }));
        }
        Ok(Json(json!({ "invalidated": invalidated })))
    })
    .await
}

/// Says what a request would be answered with, and why. Changes nothing.
pub(super) async fn explain(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let described: Described = read(&admin.app, request).await?;
    let arrived = described.arrive(&admin.app, &by).await?;
    let source = arrived.source(&by.sender);
    let (deployment, answers) = (arrived.deployment(&source), &arrived.member.answers);
    let explanation = answers.explain(deployment, &source, arrived.demand, arrived.wishes).await;
    Ok(Json(explained::shown(&explanation, deployment, arrived.wishes)))
}

/// The body of a request, as JSON.
pub(super) async fn read<T: for<'a> Deserialize<'a>>(
    app: &App,
    request: Request,
) -> Result<T, Problem> {
    let (head, body) = request.into_parts();
    json::expect_json(&head.headers)?;
    let reader = app.tenants.members().next().map(|member| &member.tenant.name);
    let reader = reader.ok_or_else(|| Problem::internal("there is no tenant"))?;
    let body = app.bodies.read(reader, body, &head.headers, app.body_limits()).await?;
    let ChargedBody { bytes, held: _held } = body;
    let canonical = json::canonical(&bytes, app.server.max_body_bytes)?;
    json::typed(&canonical, codes::INVALID_REQUEST, "The body")
}
