//! What each token allows: every route, and every scope.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;

use http::header;

use super::*;
use crate::http::admin::{Needed, needed};
use crate::identity::tokens::tests::Fixture;

const ROOT: &str = "weiradmin_0123456789abcdef0123456789abcdef";

async fn access() -> (Access, Fixture) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin-token");
    fs::write(&file, ROOT).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let root = Arc::new(AdminToken::load_or_create(&file).unwrap());
    let fixture = Fixture::new().await;
    (Access::new(root, Arc::clone(&fixture.tokens)), fixture)
}

/// Whoever sends a request with this token.
async fn admitted(access: &Access, token: &str) -> Result<Administrator, Problem> {
    let request = Request::builder().header(header::AUTHORIZATION, format!("Bearer {token}"));
    let head = request.body(()).unwrap().into_parts().0;
    let client = Client::at(Ipv4Addr::LOCALHOST.into());
    access.admit(&head, Sender { client, id: RequestId::of([1, 2]) }).await
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The code and the detail of a refusal.
fn refusal<T>(result: Result<T, Problem>) -> Option<(String, String)> {
    let problem = result.err()?;
    Some((problem.code().to_owned(), problem.detail().to_owned()))
}

#[tokio::test]
async fn each_route_is_allowed_by_its_scopes_alone() {
    let (access, f) = access().await;
    let root = admitted(&access, ROOT).await.unwrap();
    for needs in needed().map(|Needed { needs, .. }| needs) {
        root.check(needs).unwrap();
    }
    for scope in TokenScope::ALL {
        let all = f.make(&[scope], None).await;
        let some = f.make(&[scope], Some(&["acme"])).await;
        let (all, some) = (
            admitted(&access, all.as_str()).await.unwrap(),
            admitted(&access, some.as_str()).await.unwrap(),
        );
        for Needed { method, path, needs } in needed() {
            let (by_all, by_some) = match needs {
                Needs::Server(scopes) => (scopes.contains(&scope), false),
                Needs::Tenant(needed) => (needed == scope, needed == scope),
                Needs::Root => (false, false),
            };
            for (by, is_allowed) in [(&all, by_all), (&some, by_some)] {
                let refused = refusal(by.check(needs));
                assert_eq!(refused.is_none(), is_allowed, "{scope}: {method} {path}: {refused:?}");
                assert!(refused.is_none_or(|(code, _)| code == "token-scope"));
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_missing() {
    let (access, f) = access().await;
    let made = f.make(&[TokenScope::Read, TokenScope::Cache], Some(&["acme"])).await;
    let by = admitted(&access, made.as_str()).await.unwrap();
    let acme = name("acme");
    by.check_tenant(Some(&acme)).unwrap();
    let either = Needs::Server(&[TokenScope::Deploy, TokenScope::Policy]);
    for (result, said) in [
        (by.check(either), "'deploy' or 'policy', which this needs; it has 'read', 'cache'."),
        (by.check(Needs::Server(&[TokenScope::Read])), "concerns the whole server"),
        (by.check(Needs::Root), "admin.token_file"),
        (by.check_tenant(Some(&name("globex"))), "is not for the tenant 'globex'"),
        (by.check_tenant(None), "name one of them"),
    ] {
        let (code, detail) = refusal(result).unwrap();
        assert!(code == "token-scope" && detail.contains(said), "{said}: {detail}");
    }
    assert_eq!(by.by(), format!("ci ({})", made.id));
}

#[tokio::test]
async fn whoever_has_no_valid_token_is_not_let_in_and_has_to_wait() {
    let (access, f) = access().await;
    let made = f.make(&TokenScope::ALL, None).await;
    let guess = async |token: &str| refusal(admitted(&access, token).await).unwrap().0;
    assert_eq!(guess("wrong").await, "invalid-admin-token");
    assert_eq!(guess(&format!("{}x", made.as_str())).await, "invalid-admin-token");
    let mut looked_at = 2;
    while guess("wrong").await == "invalid-admin-token" {
        looked_at += 1;
        assert!(looked_at < 10, "guesses are not limited");
    }
    // Those who know are let in, from the same address.
    admitted(&access, ROOT).await.unwrap();
    admitted(&access, made.as_str()).await.unwrap();
}

/// `docs/admin.md` has a table of all routes, which the integration tests read, too.
#[test]
fn the_document_says_what_each_route_needs() {
    let document = include_str!("../../../../../../docs/admin.md");
    let documented: Vec<_> = document
        .lines()
        .filter(|line| {
            ["GET", "POST", "PUT", "DELETE"].iter().any(|m| line.starts_with(&format!("| `{m} /")))
        })
        .filter(|line| line.matches('|').count() == 4)
        .collect();
    let code = |scope: &TokenScope| format!("`{scope}`");
    let expected: Vec<_> = needed()
        .map(|Needed { method, path, needs }| {
            let (scope, concerns) = match needs {
                Needs::Server(scopes) => {
                    (scopes.iter().map(code).collect::<Vec<_>>().join(" or "), "the server")
                }
                Needs::Tenant(scope) => (code(&scope), "tenants"),
                Needs::Root => ("none".to_owned(), "the server"),
            };
            format!("| `{method} {path}` | {scope} | {concerns} |")
        })
        .collect();
    assert_eq!(documented, expected);
}
