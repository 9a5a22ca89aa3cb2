//! `/health/cache` on the public listener: for whoever asks from this machine.
//!
//! A client's address counts, which it cannot choose, and no header that tells another one. A proxy on this
//! machine has its address, but says that it forwards, and then nobody has asked from here. A web page that a
//! browser here shows cannot read what is answered, because its host is not this machine's. Clearing needs an
//! administrator's token, too, in a header that no page can send unasked.
//!
//! A tenant is shown its own cache only. Out of scope: the same on the admin listener (`admin`).

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use http::request::Parts;
use http::{HeaderMap, HeaderName, header};
use serde_json::Value;
use weir_limits::client::Client;

use super::admin::access::{Access, Administrator};
use super::admin::{self, Sender};
use super::analytics::{self, Viewer};
use super::app::App;
use super::problem::{Problem, codes};
use super::tenant::TenantOf;
use crate::identity::host::Hosts;

/// The headers that proxies add.
const FORWARDED: [HeaderName; 4] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// What requests are checked with.
struct Gate {
    hosts: Hosts,
    /// `None` if the server has no administrators.
    access: Option<Access>,
}

/// The routes. `access` lets administrators in, if there are any, and `hosts` are names of this machine in
/// addition to its usual ones.
pub(super) fn routes(
    access: Option<Access>,
    port: u16,
    hosts: impl IntoIterator<Item = String>,
) -> Router<Arc<App>> {
    // Also if the listener is open to others, where any host is accepted.
    let hosts = Hosts::of(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), hosts);
    let gate = Gate { hosts, access };
    Router::new()
        .route("/health/cache/analytics", get(analytics))
        .route("/health/cache/clear", post(clear))
        .layer(Extension(Arc::new(gate)))
}

/// How the cache of the tenant is used that asks.
async fn analytics(
    State(app): State<Arc<App>>,
    Extension(gate): Extension<Arc<Gate>>,
    Extension(sender): Extension<Sender>,
    asked: Option<Extension<TenantOf>>,
    head: Parts,
) -> Result<Json<Value>, Problem> {
    if !app.open_analytics {
        gate.admit_local(&head, sender.client)?;
    }
    let Some(Extension(TenantOf(tenant))) = asked else {
        let detail = "Each tenant is shown its own cache: send the request to the tenant's host name or \
                      path, or with its API key. The admin listener shows all.";
        return Err(Problem::new(codes::UNKNOWN_TENANT, detail));
    };
    let members = app.tenants.members().filter(|member| member.tenant.name == tenant.name);
    Ok(Json(analytics::shown(&app, members, Viewer::Tenant)))
}

/// Has nothing served any more that was made before, to an administrator.
async fn clear(
    State(app): State<Arc<App>>,
    Extension(gate): Extension<Arc<Gate>>,
    Extension(sender): Extension<Sender>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (head, body) = request.into_parts();
    let by = gate.admit_admin(&head, sender).await?;
    by.check(admin::CLEAR)?;
    admin::clear(&app, by, Request::from_parts(head, body)).await
}

impl Gate {
    fn admit_local(&self, head: &Parts, client: Client) -> Result<(), Problem> {
        if is_local(client, &head.headers) && self.hosts.accept(head) {
            return Ok(());
        }
        let detail = "This is answered only to requests from the server's own machine, that no proxy has \
                      forwarded and that name it as their host. The admin listener answers it to others, with \
                      the token.";
        Err(Problem::new(codes::LOCAL_ONLY, detail))
    }

    /// Returns once the request of an administrator on this machine may be answered.
    async fn admit_admin(&self, head: &Parts, sender: Sender) -> Result<Administrator, Problem> {
        self.admit_local(head, sender.client)?;
        let Some(access) = &self.access else {
            let detail =
                "Nobody can administer this server: admin.listen is empty, so it has no token.";
            return Err(Problem::new(codes::ADMIN_DISABLED, detail));
        };
        access.admit(head, sender).await
    }
}

/// Whether a request comes from this machine.
fn is_local(client: Client, headers: &HeaderMap) -> bool {
    client.is_loopback() && !FORWARDED.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use weir_runtime::request::RequestId;

    use super::*;
    use crate::identity::admin_token::AdminToken;
    use crate::identity::tokens::tests::Fixture;

    fn head(host: &str, forwarded: Option<HeaderName>) -> Parts {
        let mut request = Request::builder().uri("/health/cache/analytics");
        request = request.header(header::HOST, host);
        if let Some(name) = forwarded {
            request = request.header(name, "127.0.0.1");
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_this_machine_is_admitted() {
        let hosts = ["cache.example".to_owned()];
        let hosts = Hosts::of("127.0.0.1:8080".parse().unwrap(), hosts);
        let gate = Gate { hosts, access: None };
        let none = || None;
        let usual = "127.0.0.1:8080";
        let cases = [
            ("127.0.0.1", usual, none(), true),
            ("::1", "[::1]:8080", none(), true),
            ("::ffff:127.0.0.1", "localhost:8080", none(), true),
            ("127.0.0.1", "cache.example", none(), true),
            // Other machines, also if they say that they are this one.
            ("192.0.2.1", usual, none(), false),
            ("2001:db8::1", usual, none(), false),
            ("::2", usual, none(), false),
            ("192.0.2.1", usual, Some(FORWARDED[2].clone()), false),
            // A page whose name resolves to this machine.
            ("127.0.0.1", "page.example", none(), false),
        ];
        // Proxies on this machine.
        let forwarded = FORWARDED.map(|name| ("127.0.0.1", usual, Some(name), false));
        for (address, host, header, admitted) in cases.into_iter().chain(forwarded) {
            let client = Client::at(address.parse().unwrap());
            let head = head(host, header.clone());
            let is_admitted = gate.admit_local(&head, client).is_ok();
            assert_eq!(is_admitted, admitted, "{address}, {host}, {header:?}");
        }
    }

    #[tokio::test]
    async fn administrators_need_the_token_and_have_to_be_here() {
        const TOKEN: &str = "weiradmin_0123456789abcdef0123456789abcdef";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admin-token");
        std::fs::write(&file, TOKEN).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let token = Arc::new(AdminToken::load_or_create(&file).unwrap());
        let hosts = || Hosts::of("127.0.0.1:8080".parse().unwrap(), []);
        let f = Fixture::new().await;
        let access = Access::new(token, Arc::clone(&f.tokens));
        let with = Gate { hosts: hosts(), access: Some(access) };
        let without = Gate { hosts: hosts(), access: None };
        let (here, there) = ("127.0.0.1", "192.0.2.1");
        for (gate, address, token, code) in [
            (&with, here, Some(TOKEN), None),
            (&with, here, None, Some("invalid-admin-token")),
            (&with, here, Some("wrong"), Some("invalid-admin-token")),
            (&with, there, Some(TOKEN), Some("local-only")),
            (&without, here, Some(TOKEN), Some("admin-disabled")),
            (&without, here, None, Some("admin-disabled")),
            (&without, there, None, Some("local-only")),
        ] {
            let mut head = head("127.0.0.1:8080", None);
            if let Some(token) = token {
                let value = format!("Bearer {token}").parse().unwrap();
                head.headers.insert(header::AUTHORIZATION, value);
            }
            let client = Client::at(address.parse().unwrap());
            let sender = Sender { client, id: RequestId::of([1, 2]) };
            let admitted = gate.admit_admin(&head, sender).await;
            let refused = admitted.err().map(|problem| problem.code().to_owned());
            assert_eq!(refused.as_deref(), code, "{address}, {token:?}");
        }
    }
}
