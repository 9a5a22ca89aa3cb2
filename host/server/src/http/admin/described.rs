//! Requests to pipelines as an administrator describes them, in JSON, and as they would arrive from a
//! client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde_json::value::RawValue;
use weir_core::json::{CanonicalJson, JsonLimits, canonicalize};
use weir_core::name::Name;
use weir_limits::charge::Charge;
use weir_runtime::deploy::Deployment;
use weir_runtime::request::Source;
use weir_runtime::tenant::reading::Demand;
use weir_runtime::wishes::Wishes;

use super::access::{Administrator, Sender};
use crate::http::app::App;
use crate::http::json::MAX_DEPTH;
use crate::http::problem::{Problem, codes};
use crate::http::{cache_control, position};
use crate::identity::Member;

/// A request as it is described.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// The tenant; may be omitted if there is only one.
    tenant: Option<Name>,
    pipeline: Name,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The JSON that a client would send as the body.
    body: Box<RawValue>,
}

/// The request that was described.
pub(super) struct Arrived {
    pub(super) member: Arc<Member>,
    pub(super) deployment: Arc<Deployment>,
    pub(super) demand: Demand,
    pub(super) wishes: Wishes,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: CanonicalJson,
    charge: Charge,
}

/// The tenant of this name, or the only one, if the token is for it.
///
/// # Errors
/// The token is not for it, or there is no such tenant.
pub(super) fn member<'a>(
    app: &'a App,
    by: &Administrator,
    name: Option<&Name>,
) -> Result<&'a Arc<Member>, Problem> {
    by.check_tenant(name)?;
    let mut members = app.tenants.members();
    let Some(name) = name else {
        return match (members.next(), members.next()) {
            (Some(only), None) => Ok(only),
            _ => {
                let detail = "There are several tenants: name one as \"tenant\".";
                Err(Problem::new(codes::INVALID_REQUEST, detail))
            }
        };
    };
    members
        .find(|member| member.tenant.name == *name)
        .ok_or_else(|| Problem::new(codes::UNKNOWN_TENANT, format!("There is no tenant '{name}'.")))
}

impl Described {
    /// The tenant that it names.
    pub(super) fn tenant(&self) -> Option<&Name> {
        self.tenant.as_ref()
    }

    /// The request as it would arrive.
    ///
    /// # Errors
    /// The token is not for the tenant, there is no such tenant or pipeline, or a client could not send it.
    pub(super) async fn arrive(self, app: &App, by: &Administrator) -> Result<Arrived, Problem> {
        let member = member(app, by, self.tenant.as_ref())?;
        let (tenant, pipeline) = (&member.tenant, &self.pipeline);
        let deployment = app.deployments.get(&tenant.name, pipeline).ok_or_else(|| {
            let detail = format!("There is no pipeline '{pipeline}' for {}.", tenant.name);
            Problem::new(codes::UNKNOWN_PIPELINE, detail)
        })?;
        let headers: HeaderMap = self.headers.iter().map(header).collect::<Result<_, Problem>>()?;
        let limits = JsonLimits { max_bytes: app.server.max_body_bytes, max_depth: MAX_DEPTH };
        let body = canonicalize(self.body.get(), limits)?;
        let patience = Duration::from_millis(app.server.position_timeout_ms);
        let demand = position::demand(&headers, tenant, patience).await?;
        let wishes = cache_control::wishes(&headers, &deployment.pipeline().client_cache_control);
        Ok(Arrived {
            member: Arc::clone(member),
            deployment,
            demand,
            wishes,
            query: self.query.into_iter().collect(),
            headers,
            body,
            charge: Charge::none(),
        })
    }
}

fn header((name, value): (&String, &String)) -> Result<(HeaderName, HeaderValue), Problem> {
    let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
    header.ok_or_else(|| {
        Problem::new(codes::INVALID_REQUEST, "headers: one of them is not a valid header.")
    })
}

impl Arrived {
    /// What answers it.
    pub(super) fn deployment(&self, source: &Source<'_>) -> &Arc<Deployment> {
        self.deployment.candidate_for(source).unwrap_or(&self.deployment)
    }

    /// What its key is made from.
    pub(super) fn source<'a>(&'a self, sender: &'a Sender) -> Source<'a> {
        Source {
            id: &sender.id,
            client: sender.client,
            method: &Method::POST,
            path: &self.deployment.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
            charge: &self.charge,
        }
    }
}
