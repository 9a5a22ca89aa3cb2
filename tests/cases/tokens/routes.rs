//! What each token allows, on every route that `docs/admin.md` lists.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::audited::audit;
use super::{get, make, send, server};
use crate::harness::Server;

const SCOPES: [&str; 4] = ["read", "deploy", "policy", "cache"];

/// A route, as the document has it.
struct Route {
    method: String,
    path: String,
    scopes: BTreeSet<String>,
    is_of_tenants: bool,
}

/// All routes. That these are all is checked next to the code.
fn routes() -> Vec<Route> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/admin.md");
    let document = fs::read_to_string(document).unwrap();
    let route = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", call, scopes, concerns @ ("tenants" | "the server"), ""] = cells[..] else {
            return None;
        };
        let (method, path) = call.trim_matches('`').split_once(' ')?;
        let scopes = scopes.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let path = path
            .replace("{digest}", &"0".repeat(64))
            .replace("{name}", "echo")
            .replace("{id}", &"0".repeat(16));
        let is_of_tenants = concerns == "tenants";
        Some(Route { method: method.to_owned(), path, scopes, is_of_tenants })
    };
    document.lines().filter_map(route).collect()
}

impl Route {
    /// Its path and its body in a request that names this tenant, or none.
    fn about(&self, tenant: Option<&str>) -> (String, Value) {
        let mut body = match self.path.as_str() {
            _ if !self.is_of_tenants => return (self.path.clone(), json!({})),
            "/health/cache/analytics" => return (self.path.clone(), Value::Null),
            "/admin/v1/audit" | "/admin/v1/pipelines/echo/logs" => {
                let query = tenant.map(|name| format!("?tenant={name}")).unwrap_or_default();
                return (format!("{}{query}", self.path), Value::Null);
            }
            "/admin/v1/cache/invalidate" => json!({ "what": "everything" }),
            "/admin/v1/cache/explain" | "/admin/v1/cache/warm" => {
                json!({ "pipeline": "echo", "body": {} })
            }
            "/health/cache/clear" => json!({}),
            path => panic!("say how a request to {path} names its tenant"),
        };
        if let Some(tenant) = tenant {
            body["tenant"] = tenant.into();
        }
        if self.path == "/admin/v1/cache/warm" {
            body = json!({ "requests": [body], "rate_per_second": 1_000 });
        }
        (self.path.clone(), body)
    }

    /// The code with which a token is refused; `None` if it is not.
    async fn refusal(&self, server: &Server, token: &str, tenant: Option<&str>) -> Option<String> {
        let (path, body) = self.about(tenant);
        let answer = send(server, token, &self.method, &path, &body).await;
        let (status, what) = (answer.status, format!("{} {path}: {answer:?}", self.method));
        assert!(![401, 405, 429].contains(&status) && status < 500, "{what}");
        if status < 400 {
            return None;
        }
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        assert_ne!(code, "not-found", "{what}");
        (status == 403).then_some(code)
    }
}

#[tokio::test]
async fn every_route_is_allowed_by_its_scopes_alone() {
    let server = server().await;
    let routes = routes();
    assert!(routes.len() >= 20, "{} routes", routes.len());
    let token_scope = Some("token-scope".to_owned());
    for scope in SCOPES {
        let of_all = make(&server, &[scope], None).await;
        for route in &routes {
            let expected = (!route.scopes.contains(scope)).then(|| "token-scope".to_owned());
            let what = format!("{scope}: {} {}", route.method, route.path);
            let refused = route.refusal(&server, &of_all.text, Some("acme")).await;
            assert_eq!(refused, expected, "{what}");
        }
    }
    let of_acme = make(&server, &["read", "cache"], Some(&["acme"])).await;
    for route in &routes {
        let what = format!("acme: {} {}", route.method, route.path);
        let own = route.refusal(&server, &of_acme.text, Some("acme")).await;
        assert_eq!(own.is_none(), route.is_of_tenants, "{what}: {own:?}");
        // The only one that names no tenant: it shows those that the token is for.
        if route.path == "/health/cache/analytics" {
            let shown = get(&server, &of_acme.text, &route.path).await.json()["tenants"].clone();
            assert_eq!(shown.as_array().unwrap().len(), 1, "{shown}");
            assert_eq!(shown[0]["tenant"], "acme");
            continue;
        }
        for tenant in [None, Some("globex"), Some("nobody")] {
            let refused = route.refusal(&server, &of_acme.text, tenant).await;
            assert_eq!(refused, token_scope, "{what}, {tenant:?}");
        }
    }
    // The one of the file is for everything.
    for route in &routes {
        let refused = route.refusal(&server, &server.admin_token(), Some("acme")).await;
        assert_eq!(refused, None, "{} {}", route.method, route.path);
    }
}

#[tokio::test]
async fn one_request_of_a_list_for_another_tenant_refuses_all_of_it() {
    let server = server().await;
    let of_acme = make(&server, &["cache"], Some(&["acme"])).await;
    let request = |tenant: &str| json!({ "tenant": tenant, "pipeline": "echo", "body": {} });
    let body = json!({ "requests": [request("acme"), request("globex")] });
    let answer = send(&server, &of_acme.text, "POST", "/admin/v1/cache/warm", &body).await;
    answer.assert_problem(403, "token-scope");
    assert_eq!(audit(&server, "?target=cache").await["entries"], json!([]));
}
