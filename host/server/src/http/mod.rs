//! The HTTP interfaces: one service for all connections of a listener, the public one or that of [`admin`].
//!
//! [`Service::answer`] is called for each request. It finds the tenant first ([`tenant`]). The
//! route of pipelines, which is the hot one, is matched directly and goes to [`handler`]; the
//! [`router`] handles all other routes, of which [`local`] has those for whoever is on this machine. [`body`] reads request bodies, [`respond`] completes
//! responses, and [`problem`] describes errors. Out of scope: connections and their timeouts
//! (`listener`).

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;
use tower::ServiceExt as _;
use weir_core::name::Name;
use weir_limits::charge::Charge;
use weir_limits::client::Client;

use self::admin::Sender;
use self::admin::access::Access;
use self::app::App;
use self::body::RequestBody;
use self::cors::Asked;
use self::problem::{Problem, codes};
use self::respond::Exchange;
use self::unread::Unread;
use crate::identity::admin_token::AdminToken;
use crate::identity::host::Hosts;
use crate::identity::{Identified, Member};
use crate::in_flight::{InFlight, Requests};
use crate::telemetry::metrics::Route;

mod admin;
mod analytics;
pub mod app;
pub mod body;
mod cache_control;
pub mod cors;
mod documents;
mod embeddings;
mod handler;
mod health;
pub mod json;
mod local;
pub mod parsing;
pub mod path;
mod position;
pub mod problem;
pub mod respond;
mod router;
mod tenant;
pub(crate) mod unread;

/// Answers requests; shared by all connections.
pub struct Service {
    app: Arc<App>,
    router: Router,
    requests: Arc<Requests>,
    unread: Unread,
    hosts: Hosts,
    audience: Audience,
}

/// Whose requests a service answers.
enum Audience {
    /// Those of clients, who belong to tenants.
    Public,
    /// Those of administrators.
    Admins(Access),
}

/// An answer, and what must be held until it has been written.
pub struct Answered {
    /// The answer.
    pub response: Response,
    /// The memory that it takes.
    pub charge: Charge,
    /// That its request counts among those of the server; `None` if it was refused because too many do.
    pub in_flight: Option<InFlight>,
    /// That it counts among those of its tenant, if those are limited.
    pub of_tenant: Option<InFlight>,
}

impl Service {
    /// Creates a service that answers clients for `app`, which listens on `address`. `token` is that of
    /// administrators, if there are any.
    #[must_use]
    pub fn public(app: Arc<App>, address: SocketAddr, token: Option<Arc<AdminToken>>) -> Self {
        let access = token.map(|token| Access::new(token, Arc::clone(&app.tokens)));
        let local = local::routes(access, address.port(), allowed_hosts(&app));
        let router = router::router(app.clone(), local);
        Self::new(app, address, router, Audience::Public)
    }

    /// Creates a service that answers administrators, on `address`.
    #[must_use]
    pub fn admin(app: Arc<App>, address: SocketAddr, token: Arc<AdminToken>) -> Self {
        let router = admin::router(app.clone());
        let access = Access::new(token, Arc::clone(&app.tokens));
        Self::new(app, address, router, Audience::Admins(access))
    }

    fn new(app: Arc<App>, address: SocketAddr, router: Router, audience: Audience) -> Self {
        let hosts = Hosts::of(address, allowed_hosts(&app));
        let requests = Requests::new(app.server.max_requests);
        let unread = Unread::new(app.server.max_answers_bytes);
        Self { app, router, requests, unread, hosts, audience }
    }

    /// The server's parts.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Answers one request of `client`. A panic ends the request, not the connection.
    pub async fn answer(&self, request: Request<Incoming>, client: Client) -> Answered {
        let exchange = Exchange::begin(&request);
        let (mut head, body) = RequestBody::wrap(request).into_parts();
        let in_flight = self.requests.begin();
        let mut of_tenant = None;
        let asked = self.asked_by_page(&head);
        let (route, mut response) = if in_flight.is_some() {
            let caller = handler::Caller { client, id: exchange.id() };
            let answer = async {
                if let Audience::Admins(access) = &self.audience {
                    match access.admit(&head, sender(caller)).await {
                        Ok(administrator) => head.extensions.insert(administrator),
                        Err(problem) => return (Route::Other, problem.into_response()),
                    };
                }
                match self.destination(&mut head, caller, asked.as_ref(), &mut of_tenant) {
                    Destination::Pipeline(member, name) => {
                        let answer = handler::run(&self.app, member, &name, &head, body, caller);
                        (Route::Pipeline, answer.await)
                    }
                    // Apart from the future of the hot route.
                    Destination::Router => (Route::Other, Box::pin(self.routed(head, body)).await),
                    Destination::Nowhere(route, response) => (route, response),
                }
            };
            let answer = AssertUnwindSafe(answer).catch_unwind().await;
            answer.unwrap_or_else(|panic| (Route::Other, panicked(&*panic).into_response()))
        } else {
            let detail = "The server has as many requests in flight as it can have.";
            let problem = Problem::new(codes::OVERLOADED, detail).retry_after(1);
            (Route::Other, problem.into_response())
        };
        let charge = self.unread.admit(client, &mut response).await.unwrap_or_else(|problem| {
            response = problem.into_response();
            Charge::none()
        });
        let mut response = exchange.finish(response, &self.app.metrics, route);
        if let Some(asked) = asked {
            asked.stamp(response.headers_mut());
        }
        Answered { response, charge, in_flight, of_tenant }
    }

    /// What is to be said of a request to a pipeline that pages of other origins may call.
    fn asked_by_page(&self, head: &Parts) -> Option<Asked<'_>> {
        let cors = self.app.cors.as_deref()?;
        if let Audience::Admins(_) = &self.audience {
            return None;
        }
        let path = &head.uri.path()[self.app.tenants.prefix_bytes(head)..];
        let name = path::pipeline(path.strip_prefix(PIPELINES)?).ok()?;
        cors.asked(head, &name)
    }

    /// Finds the tenant and the route of a request. It counts among those of the tenant while `counted` is
    /// there.
    fn destination(
        &self,
        head: &mut Parts,
        caller: handler::Caller<'_>,
        asked: Option<&Asked<'_>>,
        counted: &mut Option<InFlight>,
    ) -> Destination<'_> {
        if !self.hosts.accept(head) {
            let detail = "The server listens on a loopback address, and does not answer to the name \
                          that the request gives as its host. server.allowed_hosts adds names.";
            return Problem::new(codes::UNKNOWN_HOST, detail).into();
        }
        if let Audience::Admins(_) = &self.audience {
            return Destination::Router;
        }
        // Browsers send no key with it.
        if let Some(preflight) = asked.and_then(Asked::preflight) {
            return Destination::Nowhere(Route::Other, preflight);
        }
        let Identified { member, prefix_bytes } = match self.app.tenants.identify(head) {
            Ok(identified) => identified,
            Err(_) if is_operational(head.uri.path()) => {
                introduce(head, caller);
                return Destination::Router;
            }
            Err(error) => return Destination::Nowhere(Route::Other, tenant::unidentified(error)),
        };
        let path = &head.uri.path()[prefix_bytes..];
        if let Some(limits) = &member.limits
            && !is_operational(path)
        {
            match limits.begin() {
                Ok(begun) => *counted = begun,
                Err(refused) => {
                    return Destination::Nowhere(Route::Other, tenant::refused(refused));
                }
            }
        }
        if let Some(segment) = path.strip_prefix(PIPELINES) {
            return match path::pipeline(segment) {
                Ok(name) => Destination::Pipeline(member, name),
                Err(problem) => {
                    let problem = problem.unwrap_or_else(|| router::not_found(&head.uri));
                    Destination::Nowhere(Route::Pipeline, problem.into_response())
                }
            };
        }
        introduce(head, caller);
        tenant::hand_over(head, &member.tenant, prefix_bytes);
        Destination::Router
    }

    async fn routed(&self, head: Parts, body: RequestBody) -> Response {
        let request = Request::from_parts(head, Body::new(body));
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }
}

/// Tells the router's handlers who has sent a request.
fn introduce(head: &mut Parts, caller: handler::Caller<'_>) {
    head.extensions.insert(sender(caller));
}

fn sender(caller: handler::Caller<'_>) -> Sender {
    Sender { client: caller.client, id: caller.id.clone() }
}

/// The names that requests may give, in addition to those of this machine: what the operator allows, and
/// those of the tenants.
fn allowed_hosts(app: &App) -> impl Iterator<Item = String> {
    let tenants = app.tenants.hosts().map(ToOwned::to_owned);
    app.server.allowed_hosts.iter().cloned().chain(tenants)
}

/// Where a request goes.
enum Destination<'a> {
    /// To the pipeline of this name.
    Pipeline(&'a Member, Name),
    /// To the router, which has all other routes.
    Router,
    /// To nobody. It is answered with this, and counted as one of this route.
    Nowhere(Route, Response),
}

impl From<Problem> for Destination<'_> {
    fn from(problem: Problem) -> Self {
        Self::Nowhere(Route::Other, problem.into_response())
    }
}

/// Whether the route belongs to the server rather than to a tenant.
fn is_operational(path: &str) -> bool {
    path.starts_with("/health/") || path == "/metrics"
}

const PIPELINES: &str = "/v1/pipelines/";

fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message");
    Problem::new(
        codes::INTERNAL,
        "The server failed. Its log has the details under this request's id.",
    )
    .logged(format_args!("panicked: {message}"))
}
