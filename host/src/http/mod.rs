//! HTTP, as clients see it: one service for every connection.
//!
//! [`Service::answer`] is called for each request. The route of pipelines, the hot one, is matched by
//! hand and goes to [`handler`]; everything else is [`router`]'s. [`body`] reads what comes
//! in, [`respond`] completes what goes out, [`problem`] says what went wrong. Left out:
//! connections and their timeouts (`server`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse as _;
use futures::FutureExt as _;
use http::{HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use crate::app::App;
use crate::telemetry::metrics::Route;

use self::body::RequestBody;
use self::problem::{Problem, codes};
use self::respond::{Exchange, Response};

pub mod body;
mod documents;
mod embeddings;
mod handler;
mod health;
pub mod json;
pub mod path;
pub mod problem;
pub mod respond;
mod router;

/// What answers requests: shared by all connections.
pub struct Service {
    app: Arc<App>,
    router: Router,
}

impl Service {
    /// Answers for `app`.
    #[must_use]
    pub fn new(app: Arc<App>) -> Self {
        let router = router::router(app.clone());
        Self { app, router }
    }

    /// What it answers for.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Answers one request, whatever happens: a panic ends the request, not the connection.
    pub async fn answer(&self, request: Request<Incoming>) -> Response {
        let exchange = Exchange::begin(&request);
        let request = RequestBody::wrap(request);
        let (route, response) = if request.uri().path().starts_with(PIPELINES) {
            let answer = AssertUnwindSafe(self.pipeline(&exchange, request)).catch_unwind();
            (Route::Pipeline, answer.await)
        } else {
            let answer = AssertUnwindSafe(self.router.clone().oneshot(request.map(Body::new)));
            let answer = answer.catch_unwind().await;
            (Route::Other, answer.map(|Ok(response)| response))
        };
        let response = response.unwrap_or_else(|panic| panicked(&*panic).into_response());
        exchange.finish(response, &self.app.metrics, route)
    }

    /// `/v1/pipelines/{pipeline}`, without the router's boxes and extensions.
    async fn pipeline(&self, exchange: &Exchange, request: Request<RequestBody>) -> Response {
        let segment = &request.uri().path()[PIPELINES.len()..];
        if segment.is_empty() || segment.contains('/') {
            return router::not_found(request.uri()).into_response();
        }
        let name = match path::name("pipeline", segment) {
            Ok(name) => name,
            Err(problem) => return problem.into_response(),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST | Method::QUERY) {
            let mut response = router::method_not_allowed(request.method()).into_response();
            let allow = HeaderValue::from_static("GET, HEAD, POST, QUERY");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        handler::run(&self.app, exchange, name, request).await
    }
}

const PIPELINES: &str = "/v1/pipelines/";

fn panicked(panic: &(dyn std::any::Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text");
    Problem::new(codes::INTERNAL, "The server failed; its log says more under this request's id.")
        .logged(format_args!("panicked: {message}"))
}
