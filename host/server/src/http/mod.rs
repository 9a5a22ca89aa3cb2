//! The public HTTP interface: one service for all connections.
//!
//! [`Service::answer`] is called for each request. It finds the tenant first ([`tenant`]). The
//! route of pipelines, which is the hot one, is matched directly and goes to [`handler`]; the
//! [`router`] handles all other routes. [`body`] reads request bodies, [`respond`] completes
//! responses, and [`problem`] describes errors. Out of scope: connections and their timeouts
//! (`listener`).

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

use self::app::App;
use self::body::RequestBody;
use self::problem::{Problem, codes};
use self::respond::Exchange;
use crate::identity::Identified;
use crate::telemetry::metrics::Route;

pub mod app;
pub mod body;
mod documents;
mod embeddings;
mod handler;
mod health;
pub mod json;
pub mod path;
mod position;
pub mod problem;
pub mod respond;
mod router;
mod tenant;

/// Answers requests; shared by all connections.
pub struct Service {
    app: Arc<App>,
    router: Router,
}

impl Service {
    /// Creates a service that answers for `app`.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        let router = router::router(app.clone());
        Self { app, router }
    }

    /// The server's parts.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Answers one request. A panic ends the request, not the connection.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let exchange = Exchange::begin(&request);
        let (head, body) = RequestBody::wrap(request).into_parts();
        let answer = AssertUnwindSafe(self.dispatch(head, body)).catch_unwind().await;
        let (route, response) =
            answer.unwrap_or_else(|panic| (Route::Other, panicked(&*panic).into_response()));
        exchange.finish(response, &self.app.metrics, route)
    }

    /// Finds the tenant and the route of a request.
    async fn dispatch(&self, mut head: Parts, body: RequestBody) -> (Route, Response) {
        let Identified { tenant, prefix_bytes } = match self.app.tenants.identify(&mut head) {
            Ok(identified) => identified,
            Err(_) if is_operational(head.uri.path()) => {
                return (Route::Other, self.routed(head, body).await);
            }
            Err(error) => return (Route::Other, tenant::unidentified(error)),
        };
        if let Some(segment) = head.uri.path()[prefix_bytes..].strip_prefix(PIPELINES) {
            let name = match path::pipeline(segment) {
                Ok(name) => name,
                Err(None) => {
                    return (Route::Pipeline, router::not_found(&head.uri).into_response());
                }
                Err(Some(problem)) => return (Route::Pipeline, problem.into_response()),
            };
            return (Route::Pipeline, handler::run(&self.app, tenant, &name, head, body).await);
        }
        tenant::hand_over(&mut head, tenant, prefix_bytes);
        (Route::Other, self.routed(head, body).await)
    }

    async fn routed(&self, head: Parts, body: RequestBody) -> Response {
        let request = Request::from_parts(head, Body::new(body));
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
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
