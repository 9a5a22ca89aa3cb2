//! One client opens as many connections as it can: others still find some.

use crate::harness::{Raw, Server, eventually};

const LIVENESS: &str = "GET /health/liveness HTTP/1.1\r\nhost: weir\r\n\r\n";

#[tokio::test]
async fn a_client_leaves_connections_for_others() {
    const CONNECTIONS: i64 = 8;
    let server = Server::with(|config| {
        config.set("server.max_connections", CONNECTIONS);
    })
    .await;
    let mut greedy = Vec::new();
    for _ in 0..CONNECTIONS {
        greedy.push(Raw::connect_from(2, server.address).await);
    }
    // It gets half of them; the server closes the others at once.
    for mut connection in greedy.drain(CONNECTIONS as usize / 2..) {
        connection.closed().await;
    }
    for connection in &mut greedy {
        connection.send(LIVENESS).await;
        assert!(connection.head().await.starts_with("http/1.1 200"));
    }
    let mut other = Raw::connect_from(3, server.address).await;
    other.send(LIVENESS).await;
    assert!(other.head().await.starts_with("http/1.1 200"));
    drop(other);
    let client = &server.client;
    eventually("refused connections are counted", async || {
        (client.metric("weir_connections_refused_total", &[]).await == 4.0).then_some(())
    })
    .await;
    // What it gives back, it can have again.
    greedy.clear();
    eventually("its connections are closed", async || {
        (client.metric("weir_http_connections", &[]).await <= 1.0).then_some(())
    })
    .await;
    let mut again = Raw::connect_from(2, server.address).await;
    again.send(LIVENESS).await;
    assert!(again.head().await.starts_with("http/1.1 200"));
}
