//! `GET /admin/v1/pipelines/{name}/logs`: what a pipeline has logged, and what it logs from now on.
//!
//! The answer is a line of JSON for each line of the log. With `follow`, it ends when the client leaves, the
//! pipeline is not served any more, or the server shuts down. A client that reads slowly is told how many lines it
//! has missed. Out of scope: how many lines are kept (`weir_runtime`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use http::{HeaderValue, header};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::time::timeout;
use weir_core::name::Name;
use weir_limits::shares::{Share, Shares};
use weir_runtime::logs::{Asked, By, Follower, Heard, Level, Line, MAX_LINES, PipelineLog};
use weir_store::system::{Role, TokenId};

use super::Admin;
use super::access::Administrator;
use super::deployed::named;
use super::described::member;
use crate::http::app::App;
use crate::http::problem::{Problem, codes};

/// How many lines are shown if nobody says.
const SHOWN: usize = 100;
/// How many clients follow logs at once, whichever they follow.
const MAX_FOLLOWERS: usize = 32;
/// How many of the lines that are there already are sent at once.
const SENT_AT_ONCE: usize = 64;
/// After so long without a line, a follower is sent an empty one: a client that is gone would not be noticed
/// otherwise, nor a server that is.
const PULSE: Duration = Duration::from_secs(10);

/// The right to follow a log. A token gets no more of it than is still free.
pub(super) type Followers = Shares<Option<TokenId>>;

/// As many followers as there may be.
pub(super) fn followers() -> Followers {
    Shares::new(MAX_FOLLOWERS, 1, 0)
}

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Only the lines of this tenant's requests.
    tenant: Option<Name>,
    /// Only lines that are at least so important.
    #[serde(default, deserialize_with = "level")]
    level: Level,
    /// Only lines after the one with this id.
    #[serde(default)]
    after: u64,
    /// How many of those that are there already, the latest.
    lines: Option<usize>,
    /// Whether those that come are to follow.
    #[serde(default, deserialize_with = "flag")]
    follow: bool,
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// `follow`, `follow=true` or `follow=false`.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(serde::de::Error::custom("it is true or false")),
    }
}

/// The latest lines of a pipeline's log, and those that come if they are asked for.
pub(super) async fn read(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    Path(name): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let invalid = |detail: String| Problem::new(codes::INVALID_REQUEST, detail);
    let Query(Wanted { tenant, level, after, lines, follow }) =
        wanted.map_err(|error| invalid(format!("{}.", error.body_text())))?;
    let lines = lines.unwrap_or(SHOWN);
    if lines > MAX_LINES {
        return Err(invalid(format!("lines: at most {MAX_LINES} are kept.")));
    }
    let log = log_of(&admin.app, &by, named(name)?, tenant.as_ref()).await?;
    let asked = Asked { tenant, level, after };
    let body = match follow {
        false => Body::from(shown(&admin.app, &log.read(asked, lines).0)),
        true => {
            let place = admin.followers.try_take(&by.token_id(), 1, 1).ok_or_else(|| {
                let detail = "As many clients follow logs as may do so, or as may with this token.";
                Problem::new(codes::OVERLOADED, detail).retry_after(1)
            })?;
            let (first, follower) = log.read(asked, lines);
            let (app, first) = (Arc::clone(&admin.app), first.into());
            let following = Following { app, follower, first, ended: false, _place: place };
            Body::from_stream(stream::unfold(following, Following::next))
        }
    };
    let mut response = body.into_response();
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The log of a pipeline that is served to the tenant, or to any if there is none.
async fn log_of(
    app: &App,
    by: &Administrator,
    name: Name,
    tenant: Option<&Name>,
) -> Result<Arc<PipelineLog>, Problem> {
    let is_served = match tenant {
        Some(tenant) => {
            let tenant = &member(app, by, Some(tenant))?.tenant.name;
            app.deployments.get(tenant, &name).is_some()
        }
        None => {
            by.check_tenant(None)?;
            true
        }
    };
    if let Some(log) = app.registry.logs().get(&name).filter(|_| is_served) {
        return Ok(log);
    }
    let of_tenant = tenant.map(|tenant| format!(" for {tenant}")).unwrap_or_default();
    let mut detail = format!("No pipeline '{name}' is deployed{of_tenant}.");
    // What policies there are is nothing that a token for some tenants tells.
    if by.is_for_all() && app.registry.list(Role::Policy).await.iter().any(|one| one.name == name) {
        detail =
            format!("'{name}' is a cache policy. Policies import nothing, so they log nothing.");
    }
    Err(Problem::new(codes::UNKNOWN_DEPLOYMENT, detail))
}

/// A client that follows a log.
struct Following {
    app: Arc<App>,
    follower: Follower,
    /// What was there already, until it is sent.
    first: VecDeque<Arc<Line>>,
    /// Whether it has been told the end.
    ended: bool,
    _place: Share<Option<TokenId>>,
}

impl Following {
    /// What is sent next. It is asked for when what was sent before has been read.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.ended {
            return None;
        }
        if !self.first.is_empty() {
            let sent = self.first.len().min(SENT_AT_ONCE);
            let lines: Vec<_> = self.first.drain(..sent).collect();
            return Some((Ok(shown(&self.app, &lines)), self));
        }
        let heard = tokio::select! {
            biased;
            () = self.app.lifecycle.draining() => Some(Err("shutting-down")),
            heard = timeout(PULSE, self.follower.next()) => heard.ok().map(Ok),
        };
        let text = match heard {
            None => Bytes::from_static(b"\n"),
            Some(Ok(Heard::Lines { lost, lines })) => {
                let lost = (lost > 0).then(|| format!("{}\n", json!({ "lost": lost })));
                let lines = shown(&self.app, &lines);
                lost.map_or(lines.clone(), |lost| [lost.as_bytes(), &lines].concat().into())
            }
            Some(Ok(Heard::Ended)) => self.end("undeployed"),
            Some(Err(why)) => self.end(why),
        };
        Some((Ok(text), self))
    }

    fn end(&mut self, why: &str) -> Bytes {
        self.ended = true;
        Bytes::from(format!("{}\n", json!({ "ended": why })))
    }
}

/// The lines as JSON, one a line.
fn shown(app: &App, lines: &[Arc<Line>]) -> Bytes {
    let mut text = String::new();
    for line in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", shown_line(app, line));
    }
    text.into()
}

fn shown_line(app: &App, line: &Line) -> Value {
    let Line { id, unix_ms, tenant, revision, said } = line;
    let mut shown = json!({
        "id": id,
        "unix_ms": unix_ms,
        "level": said.level.as_str(),
        "revision": revision,
        "request_id": said.request_id,
        "by": match said.by {
            By::Guest => "guest",
            By::Host => "host",
        },
        "message": said.message,
    });
    if app.tenants.are_configured() {
        shown["tenant"] = tenant.as_str().into();
    }
    if !said.fields.is_empty() {
        shown["fields"] = (*said.fields).into();
    }
    shown
}
