//! HTTP itself: what every answer carries, and what connections may do.

use crate::harness::Server;

#[tokio::test]
async fn it_answers() {
    let server = Server::start().await;
    server.client.get("/health/liveness").await.assert_status(200);
}
