//! A plugin's settings, as the configuration gives them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A plugin's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Settings(pub BTreeMap<String, Setting>);

impl Settings {
    /// The settings as the plugin reads them: pairs of name and text, sorted by name.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.0.iter().map(|(name, setting)| (name.clone(), setting.0.clone())).collect()
    }
}

/// A setting, as text: a string unchanged, a boolean as `true` or `false`, a number in its
/// shortest decimal form (`1.0` becomes `1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Setting(pub String);

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Setting;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_str<E>(self, text: &str) -> Result<Setting, E> {
                Ok(Setting(text.to_owned()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
                Ok(Setting(value.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    /// TOML's integers have a sign, and JSON's only where they need one.
    #[test]
    fn settings_are_texts_in_toml_and_in_json() {
        let toml: Settings =
            toml::from_str("a = 1\nb = -1\nc = 0.5\nd = true\ne = \"text\"").unwrap();
        let json: Settings =
            serde_json::from_str(r#"{"a": 1, "b": -1, "c": 0.5, "d": true, "e": "text"}"#).unwrap();
        let expected = [("a", "1"), ("b", "-1"), ("c", "0.5"), ("d", "true"), ("e", "text")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(toml.pairs(), expected);
        assert_eq!(json.pairs(), expected);
        assert!(serde_json::from_str::<Settings>(r#"{"a": [1]}"#).is_err());
    }
}
