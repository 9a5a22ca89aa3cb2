//! `/admin/v1/cache`: what to invalidate, and what a request would be answered with.

use std::time::SystemTime;

use axum::Extension;
use axum::Json;
use axum::extract::{Request, State};
use http_body::Body as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{error, info};
use weir_core::name::Name;
use weir_runtime::deploy::registry::RegistryError;
use weir_runtime::request::RequestId;
use weir_runtime::tenant::invalidation::what::What;
use weir_store::system::AuditRecord;

use super::described::{Described, member};
use super::{Admin, explained};
use crate::http::app::App;
use crate::http::body::ChargedBody;
use crate::http::json;
use crate::http::problem::{Problem, codes};

/// Whoever has the token, in the history of what is deployed.
pub(super) const ADMINISTRATOR: &str = "admin";

/// Who sent a request, and its id.
#[derive(Clone)]
pub(in crate::http) struct Sender {
    pub(in crate::http) client: weir_limits::client::Client,
    pub(in crate::http) id: RequestId,
}

impl Sender {
    /// Puts a change of what is deployed into the audit log.
    pub(super) async fn audit(
        &self,
        app: &App,
        action: &'static str,
        target: &str,
        error: Option<&RegistryError>,
    ) {
        let error = error.map(ToString::to_string);
        let (request_id, client) = (self.id.as_str(), format!("{:?}", self.client));
        info!(target: "weir::audit", request_id, client, what = target, error, "{action}");
        let record = AuditRecord {
            at_unix_ms: unix_ms(),
            who: ADMINISTRATOR.to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            outcome: error.unwrap_or_else(|| "done".to_owned()),
        };
        if let Err(error) = app.system.append_audit(record).await {
            error!(request_id, %error, "the audit log of the system store has no line about this");
        }
    }
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

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
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let Invalidate { what, tenant, soft } = read(&admin.app, request).await?;
    what.check().map_err(|error| {
        Problem::new(
            codes::INVALID_REQUEST,
            format!("what: {}", json::sentence(&error.to_string())),
        )
    })?;
    end(&admin.app, &sender, &what, tenant.as_ref(), soft).await
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
    app: &App,
    sender: &Sender,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let is_empty = request.body().is_end_stream();
    let Clear { tenant } = if is_empty { Clear::default() } else { read(app, request).await? };
    end(app, sender, &What::Everything, tenant.as_ref(), false).await
}

/// Invalidates `what` for one tenant, or for all, and puts that into the audit log.
async fn end(
    app: &App,
    sender: &Sender,
    what: &What,
    tenant: Option<&Name>,
    soft: bool,
) -> Result<Json<Value>, Problem> {
    let members: Vec<_> = match tenant {
        Some(name) => vec![member(app, Some(name))?],
        None => app.tenants.members().collect(),
    };
    let text = serde_json::to_string(what).unwrap_or_default();
    let mut invalidated = Vec::new();
    for member in members {
        let tenant = &member.tenant;
        let at = tenant.invalidate(what, soft).await;
        let position = at.as_ref().map(|at| at.0).unwrap_or_default();
        let error = at.as_ref().err().map(tracing::field::display);
        let (request_id, name) = (sender.id.as_str(), tenant.name.as_str());
        info!(
            target: "weir::audit",
            request_id,
            client = ?sender.client,
            tenant = name,
            what = text,
            soft,
            position,
            error,
            "invalidate"
        );
        at?;
        invalidated.push(json!({ "tenant": name, "position": position }));
    }
    Ok(Json(json!({ "invalidated": invalidated })))
}

/// Says what a request would be answered with, and why. Changes nothing.
pub(super) async fn explain(
    State(admin): State<Admin>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let described: Described = read(&admin.app, request).await?;
    let arrived = described.arrive(&admin.app).await?;
    let source = arrived.source(&sender.id, sender.client);
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
