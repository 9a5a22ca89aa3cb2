//! A web page whose name resolves to 127.0.0.1 asks the server as if it were its own.

use serde_json::json;

use crate::harness::{Answer, Server};

#[tokio::test]
async fn a_name_that_is_not_this_machines_is_refused() {
    let server = Server::start().await;
    let port = server.address.port();
    for (host, accepted) in [
        (format!("localhost:{port}"), true),
        (format!("127.0.0.1:{port}"), true),
        ("weir".to_owned(), true),
        (format!("evil.example:{port}"), false),
        ("localhost.evil.example".to_owned(), false),
    ] {
        let get = server.client.request("GET", "/v1/collections").header("host", &host);
        let post = server.client.request("POST", "/v1/pipelines/search").header("host", &host);
        let post = post.json(&json!({ "query": "boats" }));
        for request in [get, post] {
            let answer = Answer::to(request).await;
            match accepted {
                true => assert_ne!(answer.status, 421, "{host}"),
                false => answer.assert_problem(421, "unknown-host"),
            }
        }
    }
}
