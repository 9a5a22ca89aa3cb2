//! Passes a request's tenant from `identity` to the handlers.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;
use http::{HeaderValue, Uri, header};
use weir_runtime::tenant::Tenant;

use super::problem::{Problem, codes};
use crate::identity::Unidentified;
use crate::identity::requests::Refused;

/// A second later, a tenant may send as many requests again.
const RETRY_AFTER_SECONDS: u32 = 1;

/// The tenant of a routed request.
#[derive(Clone)]
pub(super) struct TenantOf(pub(super) Arc<Tenant>);

impl<S: Sync> FromRequestParts<S> for TenantOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let tenant = parts.extensions.get::<Self>().cloned();
        tenant.ok_or_else(|| Problem::internal("a route that needs a tenant was reached without"))
    }
}

/// Prepares a request of `tenant` for the router, and removes the tenant's prefix.
pub(super) fn hand_over(head: &mut Parts, tenant: &Arc<Tenant>, prefix_bytes: usize) {
    head.extensions.insert(TenantOf(Arc::clone(tenant)));
    if prefix_bytes == 0 {
        return;
    }
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    uri.path_and_query = uri
        .path_and_query
        .and_then(|path| path.as_str().get(prefix_bytes..).and_then(|rest| rest.parse().ok()));
    // A valid path stays valid when a prefix of whole segments is removed.
    head.uri = Uri::from_parts(uri).unwrap_or_default();
}

/// The response to a request that its tenant may not send now.
pub(super) fn refused(refused: Refused) -> Response {
    let (code, detail) = match refused {
        Refused::TooFast(most) => (
            codes::RATE_LIMITED,
            format!("The tenant may send {most} requests a second, and has sent more."),
        ),
        Refused::TooMany(most) => (
            codes::TOO_MANY_REQUESTS,
            format!("The tenant may have {most} requests in flight, and has as many."),
        ),
    };
    Problem::new(code, detail).retry_after(RETRY_AFTER_SECONDS).into_response()
}

/// The response to a request without a valid tenant.
pub(super) fn unidentified(error: Unidentified) -> Response {
    let (code, detail) = match error {
        Unidentified::UnknownTenant => (
            codes::UNKNOWN_TENANT,
            "No tenant has this host name or path; send the request to the tenant's host name or \
             path, or with its API key.",
        ),
        Unidentified::MissingKey => {
            (codes::MISSING_API_KEY, "Send the tenant's API key as 'Authorization: Bearer weir_…'.")
        }
        Unidentified::InvalidKey => {
            (codes::INVALID_API_KEY, "The API key is unknown or belongs to another tenant.")
        }
    };
    let mut response = Problem::new(code, detail).into_response();
    if error != Unidentified::UnknownTenant {
        let scheme = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}
