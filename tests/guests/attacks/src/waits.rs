//! Waits for something that nobody does.

use std::future::pending;

use weir_sdk::serde_json::Value;

pub(crate) async fn forever() -> Value {
    pending().await
}
