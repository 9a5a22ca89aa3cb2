//! Passes one list to the host that is as large as the guest can make it.

use weir_sdk::embedding::embed_all;
use weir_sdk::serde_json::{Value, json};

/// `{"texts", "text_bytes"}`
pub(crate) async fn pass(body: &Value) -> Value {
    let number = |name: &str| body[name].as_u64().unwrap_or_default() as usize;
    let text = "a".repeat(number("text_bytes"));
    let texts = (0..number("texts")).map(|_| text.as_str());
    match embed_all(None, texts).await {
        Ok(vectors) => json!(vectors.len()),
        Err(error) => json!(format!("{error:?}")),
    }
}
