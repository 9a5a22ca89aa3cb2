//! The audit log: what administrators do is in the log and in the system store, with who has done it, and
//! `/admin/v1/audit` reads it.
//!
//! Out of scope: how many lines are kept (`weir_store`).

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{error, info};
use weir_core::name::Name;
use weir_store::system::{AuditEntry, AuditPage, AuditRecord, MAX_AUDIT_PAGE, TokenId};

use super::Admin;
use super::access::Administrator;
use crate::http::app::App;
use crate::http::problem::{Problem, codes};
use crate::identity::tokens::unix_ms;

/// How many lines are shown if nobody says.
const SHOWN: u32 = 100;
/// How something ended that has nothing to say.
pub(super) const DONE: &str = "done";

/// What was done.
pub(super) struct Line {
    pub(super) action: &'static str,
    /// What it was done to, as it can be asked for.
    pub(super) target: String,
    /// `None` if it is about the whole server.
    pub(super) tenant: Option<Name>,
    pub(super) detail: String,
}

impl Administrator {
    /// Puts into the audit log what was done, and how it ended.
    pub(super) async fn audit(&self, app: &App, line: Line, outcome: String) {
        let record = self.record(line, outcome);
        self.say(&record);
        if let Err(error) = app.system.append_audit(record).await {
            let request_id = self.sender.id.as_str();
            error!(request_id, %error, "the audit log of the system store has no line about this");
        }
    }

    /// The line as it is stored.
    pub(super) fn record(&self, line: Line, outcome: String) -> AuditRecord {
        let Line { action, target, tenant, detail } = line;
        AuditRecord {
            at_unix_ms: unix_ms(),
            who: self.name().to_owned(),
            token: self.token_id(),
            action: action.to_owned(),
            target,
            tenant,
            detail,
            outcome,
        }
    }

    /// Puts a line that is stored into the log.
    pub(super) fn say(&self, record: &AuditRecord) {
        let (request_id, client) = (self.sender.id.as_str(), self.sender.client);
        let AuditRecord { who, token, action, target, tenant, detail, outcome, .. } = record;
        let (token, tenant) =
            (token.map(tracing::field::display), tenant.as_ref().map(Name::as_str));
        info!(
            target: "weir::audit",
            request_id, ?client, who, token, what = target, tenant, detail, outcome, "{action}"
        );
    }
}

/// Does `work` to its end, also if the client leaves before: what has changed something is in the audit log.
pub(super) async fn to_its_end<T: Send + 'static>(
    app: &App,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let done = app.lifecycle.detached.spawn(work).await;
    done.unwrap_or_else(|cut| Err(Problem::internal(cut)))
}

/// Which lines are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    before: Option<u64>,
    limit: Option<u32>,
    target: Option<String>,
    tenant: Option<Name>,
}

/// Lines of the audit log, the newest first.
pub(super) async fn list(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let invalid = |detail: String| Problem::new(codes::INVALID_REQUEST, detail);
    let Query(Asked { before, limit, target, tenant }) =
        asked.map_err(|error| invalid(format!("{}.", error.body_text())))?;
    by.check_tenant(tenant.as_ref())?;
    let limit = limit.unwrap_or(SHOWN);
    if !(1..=MAX_AUDIT_PAGE).contains(&limit) {
        return Err(invalid(format!("limit: a page has 1 to {MAX_AUDIT_PAGE} lines.")));
    }
    let entries = admin.app.system.audit(AuditPage { before, limit, target, tenant }).await?;
    let is_full = u32::try_from(entries.len()).is_ok_and(|lines| lines == limit);
    let next = entries.last().filter(|_| is_full).map(|entry| entry.id);
    Ok(Json(json!({ "entries": entries.iter().map(shown).collect::<Vec<_>>(), "next": next })))
}

fn shown(entry: &AuditEntry) -> Value {
    let AuditRecord { at_unix_ms, who, token, action, target, tenant, detail, outcome } =
        &entry.record;
    json!({
        "id": entry.id,
        "unix_ms": at_unix_ms,
        "who": who,
        "token": token.as_ref().map(TokenId::to_string),
        "action": action,
        "target": target,
        "tenant": tenant.as_ref().map(Name::as_str),
        "detail": detail,
        "outcome": outcome,
    })
}
