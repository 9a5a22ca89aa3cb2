//! Scopes of grants, from a guest's side: every name that a pipeline opens or writes to is
//! checked against the operator's patterns, for each tenant on its own.

use serde_json::{Value, json};

use crate::harness::{Answer, Server, guest, plugin};

const NAMES: [&str; 5] = ["handbook", "handbooks", "notes-", "notes-2026", "secrets"];

/// What a client gets of a pipeline that names a collection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gets {
    Answer,
    Denied,
    Unknown,
}

#[track_caller]
fn got(answer: &Answer) -> Gets {
    match answer.status {
        200 => Gets::Answer,
        403 => {
            answer.assert_problem(403, "collection-not-granted");
            Gets::Denied
        }
        _ => {
            answer.assert_problem(404, "unknown-collection");
            Gets::Unknown
        }
    }
}

async fn send(server: &Server, tenant: &str, pipeline: &str, request: &Value) -> Answer {
    let path = format!("/v1/pipelines/{pipeline}");
    let request = server
        .client
        .request("POST", &path)
        .header("host", tenant)
        .header("content-type", "application/json")
        .body(request.to_string());
    Answer::to(request).await
}

#[tokio::test]
async fn what_a_pipeline_may_read_and_write() {
    use Gets::{Answer as Yes, Denied as No, Unknown as Absent};
    // What a tenant gets that has all of NAMES, in their order, for searching as for writing.
    let cases: [(&[&str], [Gets; 5]); 5] = [
        (&["handbook"], [Yes, No, No, No, No]),
        (&["notes-*"], [No, No, Yes, Yes, No]),
        (&["handbook", "notes-*"], [Yes, No, Yes, Yes, No]),
        (&["handbook*"], [Yes, Yes, No, No, No]),
        (&["*"], [Yes; 5]),
    ];
    let server = Server::with(|config| {
        for tenant in ["full", "empty"] {
            config.set(&format!("tenants.{tenant}.hosts"), vec![tenant]);
        }
        for (index, (scope, _)) in cases.iter().enumerate() {
            for (name, component, grant) in [
                (format!("search-{index}"), plugin("search"), "read"),
                (format!("writer-{index}"), guest("writer"), "write"),
            ] {
                config
                    .pipeline(&name, &component, &["embedding", "settings"])
                    .set(&format!("pipelines.{name}.grants.collections.{grant}"), scope.to_vec());
            }
        }
    })
    .await;
    for name in NAMES {
        let path = format!("/v1/collections/{name}");
        let request = server.client.request("PUT", &path).header("host", "full");
        Answer::to(request).await.assert_status(201);
    }
    for (index, (scope, expected)) in cases.iter().enumerate() {
        for (name, of_full) in NAMES.iter().zip(*expected) {
            // The other tenant has none of them: what is granted is looked for among its own.
            let of_empty = if of_full == Yes { Absent } else { of_full };
            for (tenant, expected) in [("full", of_full), ("empty", of_empty)] {
                let case = format!("{scope:?}, {name} and {tenant}");
                let request = json!({ "query": "x", "collection": name, "mode": "keyword" });
                let found = send(&server, tenant, &format!("search-{index}"), &request).await;
                assert_eq!(got(&found), expected, "reading: {case}");
                let id = format!("written-by-{index}");
                let request = json!({ "collection": name, "id": id, "text": "words" });
                let written = send(&server, tenant, &format!("writer-{index}"), &request).await;
                assert_eq!(got(&written), expected, "writing: {case}");
            }
        }
    }
    for (column, name) in NAMES.iter().enumerate() {
        let path = format!("/v1/collections/{name}");
        let collection = server.client.request("GET", &path).header("host", "full");
        let granted = cases.iter().filter(|(_, expected)| expected[column] == Yes).count();
        let documents = &Answer::to(collection).await.json()["documents"];
        assert_eq!(*documents, granted, "what was denied has changed nothing: {name}");
    }
    server.logged("denied").await;
}

#[tokio::test]
async fn a_grant_of_nothing_is_refused_at_load() {
    for grants in ["read", "write"] {
        let ended = Server::refused(|config| {
            let component = if grants == "read" { plugin("search") } else { guest("writer") };
            config
                .pipeline("it", &component, &["embedding", "settings"])
                .set(&format!("pipelines.it.grants.collections.{grants}"), Vec::<&str>::new());
        });
        ended.await.assert_refused(&["[pipelines.it]", "not granted: add `grants.collections"]);
    }
}
