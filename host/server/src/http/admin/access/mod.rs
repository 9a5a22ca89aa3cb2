//! Who may administer, and what: whoever has a token that allows it, and not too fast.
//!
//! [`Access`] lets in those who have a token, [`Needs`] is what a route needs of it, and [`allow`] compares the two
//! before the route's handler runs. A token can be for some tenants only. What a request concerns is often in
//! its body, so handlers of routes that such tokens may use ask [`Administrator::check_tenant`]. Out of scope:
//! what tokens are kept as (`identity`).

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use tokio::time::sleep;
use weir_core::name::Name;
use weir_limits::client::Client;
use weir_limits::rates::Rates;
use weir_runtime::request::RequestId;
use weir_store::system::{Token, TokenId, TokenScope};

use crate::http::problem::{Problem, codes};
use crate::identity::admin_token::{AdminToken, bearer};
use crate::identity::tokens::{AdminTokens, ValidToken};

/// How many requests of a client with a token are answered a second. Further ones wait.
const REQUESTS_PER_SECOND: u32 = 200;
/// How many tokens a client may try a second.
const GUESSES_PER_SECOND: u32 = 2;
/// What the holder of the token in `admin.token_file` is called. No other token has this name.
pub(super) const ADMINISTRATOR: &str = "admin";

/// Who sent a request, and its id.
#[derive(Clone)]
pub(in crate::http) struct Sender {
    pub(in crate::http) client: Client,
    pub(in crate::http) id: RequestId,
}

/// Who has sent a request, with a token that is valid.
#[derive(Clone)]
pub(in crate::http) struct Administrator {
    pub(in crate::http) sender: Sender,
    holder: Holder,
}

/// Whose token it is.
#[derive(Clone)]
enum Holder {
    /// The one in `admin.token_file`.
    Root,
    /// One that was made with it.
    Token(Arc<ValidToken>),
}

/// What a route needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Needs {
    /// One of the scopes. The whole server is concerned, so a token for some tenants does not do.
    Server(&'static [TokenScope]),
    /// The scope, for the tenants that are concerned, which the handler checks.
    Tenant(TokenScope),
    /// The token in `admin.token_file`.
    Root,
}

/// What requests of administrators are checked with.
pub(in crate::http) struct Access {
    root: Arc<AdminToken>,
    tokens: Arc<AdminTokens>,
    admins: Rates<Client>,
    /// Apart, so that whoever guesses does not keep out those who know.
    guesses: Rates<Client>,
}

impl Access {
    /// Lets in those who have one of these tokens.
    #[must_use]
    pub(in crate::http) fn new(root: Arc<AdminToken>, tokens: Arc<AdminTokens>) -> Self {
        let admins = Rates::per_second(REQUESTS_PER_SECOND);
        Self { root, tokens, admins, guesses: Rates::per_second(GUESSES_PER_SECOND) }
    }

    /// Returns once the request may be looked at.
    ///
    /// # Errors
    /// 401 without a valid token, and 429 if the client has tried too many.
    pub(in crate::http) async fn admit(
        &self,
        head: &Parts,
        sender: Sender,
    ) -> Result<Administrator, Problem> {
        let client = sender.client;
        if let Some(holder) = bearer(&head.headers).and_then(|token| self.holder(token)) {
            sleep(self.admins.take(client, 1, Instant::now())).await;
            return Ok(Administrator { sender, holder });
        }
        let wait = self.guesses.take(client, 1, Instant::now());
        if wait.is_zero() {
            let detail = "Send the token in admin.token_file, or one that `weir token create` has made and that is \
                          not revoked, as 'Authorization: Bearer …'; it is accepted nowhere else, such as in the URL.";
            return Err(Problem::new(codes::INVALID_ADMIN_TOKEN, detail));
        }
        let detail = format!(
            "At most {GUESSES_PER_SECOND} requests a second may come without a valid token."
        );
        let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        Err(Problem::new(codes::RATE_LIMITED, detail).retry_after(seconds))
    }

    fn holder(&self, token: &str) -> Option<Holder> {
        if self.root.is(token) {
            return Some(Holder::Root);
        }
        self.tokens.find(token).map(Holder::Token)
    }
}

/// Answers the request if the token allows what its route needs.
pub(super) async fn allow(
    State(needs): State<Needs>,
    Extension(by): Extension<Administrator>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    by.check(needs)?;
    Ok(next.run(request).await)
}

impl Administrator {
    /// What the audit log calls them.
    pub(super) fn name(&self) -> &str {
        match &self.holder {
            Holder::Root => ADMINISTRATOR,
            Holder::Token(valid) => valid.token.name.as_str(),
        }
    }

    /// The id of their token; `None` for the one in `admin.token_file`.
    pub(super) fn token_id(&self) -> Option<TokenId> {
        self.token().map(|token| token.id)
    }

    /// Their name, and the id of the token, as the history of what is deployed calls them.
    pub(super) fn by(&self) -> String {
        match self.token_id() {
            None => self.name().to_owned(),
            Some(id) => format!("{} ({id})", self.name()),
        }
    }

    fn token(&self) -> Option<&Token> {
        match &self.holder {
            Holder::Root => None,
            Holder::Token(valid) => Some(&valid.token),
        }
    }

    /// Whether the token is for all tenants.
    pub(super) fn is_for_all(&self) -> bool {
        self.token().is_none_or(|token| token.tenants.is_none())
    }

    /// Whether the token is for this tenant.
    pub(super) fn is_for(&self, tenant: &Name) -> bool {
        let tenants = self.token().and_then(|token| token.tenants.as_ref());
        tenants.is_none_or(|tenants| tenants.contains(tenant))
    }

    /// Refuses what the token does not allow.
    ///
    /// # Errors
    /// 403, with what is missing.
    pub(in crate::http) fn check(&self, needs: Needs) -> Result<(), Problem> {
        let Some(token) = self.token() else { return Ok(()) };
        let scopes = match &needs {
            Needs::Root => {
                let detail = "Only the token in admin.token_file may do this.";
                return Err(Problem::new(codes::TOKEN_SCOPE, detail));
            }
            Needs::Server(scopes) => scopes,
            Needs::Tenant(scope) => std::slice::from_ref(scope),
        };
        if !scopes.iter().any(|scope| token.scopes.contains(scope)) {
            return Err(self.refused(format_args!(
                "does not have the scope {}, which this needs; it has {}",
                listed(scopes, " or "),
                listed(&token.scopes, ", "),
            )));
        }
        if matches!(needs, Needs::Server(_)) && !self.is_for_all() {
            let why = "is for some tenants only, and this concerns the whole server";
            return Err(self.refused(format_args!("{why}")));
        }
        Ok(())
    }

    /// Refuses what concerns a tenant that the token is not for, whether or not there is such a tenant. `None` is
    /// all of them.
    ///
    /// # Errors
    /// 403.
    pub(in crate::http) fn check_tenant(&self, tenant: Option<&Name>) -> Result<(), Problem> {
        match tenant {
            Some(name) if self.is_for(name) => Ok(()),
            Some(name) => Err(self.refused(format_args!("is not for the tenant '{name}'"))),
            None if self.is_for_all() => Ok(()),
            None => {
                let why = "is for some tenants only: name one of them as \"tenant\"";
                Err(self.refused(format_args!("{why}")))
            }
        }
    }

    fn refused(&self, why: fmt::Arguments<'_>) -> Problem {
        Problem::new(codes::TOKEN_SCOPE, format!("The token {} {why}.", self.by()))
    }
}

/// Scopes, in quotes.
fn listed<'a>(scopes: impl IntoIterator<Item = &'a TokenScope>, between: &str) -> String {
    let quoted: Vec<_> = scopes.into_iter().map(|scope| format!("'{scope}'")).collect();
    quoted.join(between)
}

#[cfg(test)]
mod tests;
