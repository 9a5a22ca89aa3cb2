//! `POST /admin/v1/cache/warm`: answers a list of requests at a steady rate, so that those of clients find
//! the answers in the cache.
//!
//! Each is answered like a client's. The response is a line of JSON for each, as it is answered, and one
//! for all at the end; a client that leaves ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use weir_core::name::Name;

use super::Admin;
use super::access::Administrator;
use super::audit::{Line, to_its_end};
use super::cache::{TARGET, read};
use super::described::Described;
use crate::http::app::App;
use crate::http::handler;
use crate::http::problem::{Problem, codes};

/// The most requests of one list.
const MAX_REQUESTS: usize = 10_000;
/// The most requests a second.
const MAX_RATE: u32 = 1_000;
/// How many requests a second if nobody says.
const DEFAULT_RATE: u32 = 10;
/// How many lines wait for the client to read them.
const WAITING_LINES: usize = 16;

/// The body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Warm {
    requests: Vec<Described>,
    rate_per_second: Option<u32>,
}

/// Answers the requests, one after another.
pub(super) async fn warm(
    State(admin): State<Admin>,
    Extension(by): Extension<Administrator>,
    request: Request,
) -> Result<Response, Problem> {
    let Warm { requests, rate_per_second } = read(&admin.app, request).await?;
    let rate = rate_per_second.unwrap_or(DEFAULT_RATE);
    if requests.is_empty() || requests.len() > MAX_REQUESTS || !(1..=MAX_RATE).contains(&rate) {
        let detail =
            format!("Give 1 to {MAX_REQUESTS} requests, and a rate_per_second of 1 to {MAX_RATE}.");
        return Err(Problem::new(codes::INVALID_REQUEST, detail));
    }
    for described in &requests {
        by.check_tenant(described.tenant())?;
    }
    let turn = Arc::clone(&admin.warming).try_acquire_owned().map_err(|_| {
        let detail = "Another list is being warmed. Try again when it has ended.";
        Problem::new(codes::OVERLOADED, detail).retry_after(1)
    })?;
    let named = named(&admin.app, &requests);
    let (app, sent_by) = (Arc::clone(&admin.app), by.clone());
    to_its_end(&admin.app, async move {
        for (tenant, requests) in named {
            let detail = format!("{requests} requests, {rate} a second");
            let line = Line { action: "warm", target: TARGET.to_owned(), tenant, detail };
            sent_by.audit(&app, line, "begun".to_owned()).await;
        }
        Ok(())
    })
    .await?;
    let (lines, reader) = mpsc::channel(WAITING_LINES);
    // It ends when nobody reads what it says.
    tokio::spawn(answer_all(Arc::clone(&admin.app), by, requests, rate, lines, turn));
    let lines = stream::unfold(reader, async |mut reader| {
        let line = reader.recv().await?;
        Some((Ok::<_, Infallible>(line), reader))
    });
    let mut response = Body::from_stream(lines).into_response();
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// How many of the requests are for each tenant. Those that name none, or none that there is, are for nobody if
/// there are several.
fn named(app: &App, requests: &[Described]) -> BTreeMap<Option<Name>, usize> {
    let tenants: BTreeSet<_> = app.tenants.iter().map(|tenant| &tenant.name).collect();
    let only = tenants.first().filter(|_| tenants.len() == 1).map(|only| (*only).clone());
    let mut named = BTreeMap::new();
    for described in requests {
        let tenant = described.tenant().filter(|name| tenants.contains(name)).cloned();
        *named.entry(tenant.or_else(|| only.clone())).or_default() += 1;
    }
    named
}

async fn answer_all(
    app: Arc<App>,
    by: Administrator,
    requests: Vec<Described>,
    rate: u32,
    lines: mpsc::Sender<Bytes>,
    _turn: OwnedSemaphorePermit,
) {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut answered, mut failed) = (0_u64, 0_u64);
    for (index, described) in requests.into_iter().enumerate() {
        ticks.tick().await;
        if app.lifecycle.is_draining() {
            break;
        }
        let line = match answer(&app, &by, described).await {
            Ok(cache_status) => {
                answered += 1;
                json!({ "index": index, "cache_status": cache_status })
            }
            Err(problem) => {
                failed += 1;
                json!({ "index": index, "code": problem.code(), "detail": problem.detail() })
            }
        };
        if lines.send(line_of(&line)).await.is_err() {
            return;
        }
    }
    let done = json!({ "answered": answered, "failed": failed });
    // Nobody may be reading any more.
    let _ = lines.send(line_of(&done)).await;
}

fn line_of(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

/// The `Cache-Status` of the answer.
async fn answer(app: &App, by: &Administrator, described: Described) -> Result<String, Problem> {
    let arrived = described.arrive(app, by).await?;
    let source = arrived.source(&by.sender);
    let (answers, deployment) = (&arrived.member.answers, arrived.deployment(&source));
    if deployment.pipeline().writes {
        let detail =
            format!("The pipeline '{}' writes, so nothing of it is kept.", deployment.name());
        return Err(Problem::new(codes::INVALID_REQUEST, detail));
    }
    let served = answers.serve(deployment, &source, arrived.demand, arrived.wishes).await;
    let served = served.map_err(|failed| Problem::from(failed.error))?;
    let status = handler::cache_status(&served.via, arrived.wishes);
    Ok(status.to_str().unwrap_or_default().to_owned())
}
