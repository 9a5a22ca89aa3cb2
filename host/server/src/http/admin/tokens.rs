//! `/admin/v1/tokens`: who else may administer, and what.
//!
//! Only the token in `admin.token_file` makes and revokes tokens. If a token could make others, whoever finds it
//! would keep what it allows after it is revoked. Out of scope: how tokens are kept (`identity`).

use std::collections::BTreeSet;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use weir_core::name::Name;
use weir_store::system::{MAX_TOKENS, Token, TokenError, TokenId, TokenScope};

use super::Admin;
use super::access::{ADMINISTRATOR, Administrator};
use super::audit::{DONE, Line};
use super::cache::read;
use crate::http::app::App;
use crate::http::json::sentence;
use crate::http::problem::{Problem, codes};
use crate::identity::tokens::{TokenText, unix_ms};

/// The body of a new token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    name: Name,
    scopes: BTreeSet<TokenScope>,
    /// Only for these tenants; for all of them, and for the whole server, if it is omitted.
    tenants: Option<BTreeSet<Name>>,
}

/// All tokens, also revoked ones, the newest first.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Problem> {
    let tokens = admin.app.tokens.list().await?;
    let tokens: Vec<_> = tokens.iter().map(shown).collect();
    Ok(Json(json!({ "tokens": tokens, "limit": MAX_TOKENS })))
}

/// Makes a token. Nothing else than the answer ever has it.
pub(super) async fn make(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Response, Problem> {
    let app = &admin.app;
    let wanted: Wanted = read(app, request).await?;
    wanted.check(app)?;
    let text = TokenText::random().map_err(Problem::internal)?;
    let line = Line { detail: wanted.said(), ..of(text.id, "create token") };
    let token = Token {
        id: text.id,
        hash: text.hash(),
        name: wanted.name,
        scopes: wanted.scopes,
        tenants: wanted.tenants,
        made_unix_ms: unix_ms(),
        made_by: by.by(),
        used_unix_ms: None,
        revoked_unix_ms: None,
    };
    let record = by.record(line, DONE.to_owned());
    app.tokens.add(token.clone(), record.clone()).await?;
    by.say(&record);
    let mut body = shown(&token);
    body["token"] = text.as_str().into();
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Revokes a token, at once.
pub(super) async fn revoke(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let unknown = || {
        let detail = format!("There is no token '{id}', or it was revoked before.");
        Problem::new(codes::UNKNOWN_TOKEN, detail)
    };
    let id: TokenId = id.parse().map_err(|_| unknown())?;
    let record = by.record(of(id, "revoke token"), DONE.to_owned());
    if !admin.app.tokens.revoke(id, record.clone()).await? {
        return Err(unknown());
    }
    by.say(&record);
    Ok(Json(json!({ "id": id })))
}

fn of(id: TokenId, action: &'static str) -> Line {
    Line { action, target: format!("token {id}"), tenant: None, detail: String::new() }
}

impl Wanted {
    /// Refuses a token that could do nothing, or that could be taken for another one.
    fn check(&self, app: &App) -> Result<(), Problem> {
        let invalid = |detail: &'static str| Err(Problem::new(codes::INVALID_REQUEST, detail));
        if self.name.as_str() == ADMINISTRATOR {
            return invalid("name: 'admin' is the token in admin.token_file.");
        }
        if self.scopes.is_empty() {
            return invalid("scopes: name one or more of 'read', 'deploy', 'policy' and 'cache'.");
        }
        let Some(tenants) = &self.tenants else { return Ok(()) };
        if tenants.is_empty() {
            return invalid("tenants: name one or more, or omit them for a token of all tenants.");
        }
        let of_server = [TokenScope::Deploy, TokenScope::Policy];
        if of_server.iter().any(|scope| self.scopes.contains(scope)) {
            return invalid(
                "scopes: 'deploy' and 'policy' concern the whole server, so a token for some tenants cannot have \
                 them.",
            );
        }
        let is_known = |name: &&Name| app.tenants.iter().any(|tenant| tenant.name == **name);
        match tenants.iter().find(|name| !is_known(name)) {
            Some(name) => {
                Err(Problem::new(codes::UNKNOWN_TENANT, format!("There is no tenant '{name}'.")))
            }
            None => Ok(()),
        }
    }

    /// What it is, for the audit log.
    fn said(&self) -> String {
        let scopes: Vec<_> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        let tenants = self.tenants.as_ref().map(|names| {
            let names: Vec<_> = names.iter().map(Name::as_str).collect();
            format!(" for {}", names.join(" "))
        });
        format!("{}: {}{}", self.name, scopes.join(" "), tenants.unwrap_or_default())
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Store(error) => return error.into(),
            TokenError::TooMany { .. } => codes::TOO_MANY_TOKENS,
            TokenError::TooManyTenants { .. } => codes::INVALID_REQUEST,
        };
        Self::new(code, sentence(&error.to_string()))
    }
}

fn shown(token: &Token) -> Value {
    json!({
        "id": token.id,
        "name": token.name.as_str(),
        "scopes": token.scopes,
        "tenants": token.tenants,
        "made_unix_ms": token.made_unix_ms,
        "made_by": token.made_by,
        "used_unix_ms": token.used_unix_ms,
        "revoked_unix_ms": token.revoked_unix_ms,
    })
}
