//! How a message describes a JSON value that is not what it should be.

use weir_sdk::serde_json::Value;

/// The value in a form that its sender recognizes, without repeating a long one.
pub(crate) fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.chars().count() > 64 => "a long string".into(),
        short => short.to_string(),
    }
}
