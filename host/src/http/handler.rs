//! The request path of a pipeline.

use std::sync::Arc;

use axum::response::IntoResponse as _;
use http::Request;
use weir_backends::name::Name;

use super::body::RequestBody;
use super::problem::{Problem, codes};
use super::respond::{Exchange, Response};
use crate::app::App;

/// Answers a request to `pipeline`. The method is GET, HEAD, POST or QUERY.
pub(super) async fn run(
    _app: &Arc<App>,
    _exchange: &Exchange,
    pipeline: Name,
    _request: Request<RequestBody>,
) -> Response {
    Problem::new(codes::UNKNOWN_PIPELINE, format!("There is no pipeline '{pipeline}'."))
        .into_response()
}
