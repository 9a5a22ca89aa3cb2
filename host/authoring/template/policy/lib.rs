//! A cache policy that keeps an answer under the JSON of its request. It imports nothing: what it decides about
//! comes as arguments, so that it decides the same on every machine.

use weir_sdk::policy::{KeyPlan, Planning, Settings, Source, Storage};

struct ByBody;

impl Planning for ByBody {
    /// Called once, when the policy is loaded. The plan is compiled to native code, so a hit runs nothing of
    /// this. An error is shown to whoever deploys the policy.
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        let storage = Storage::memory(ttl_ms(&settings)?);
        // `Source::JsonField("/query".into())` would be a part of the body. A pipeline receives what its key is
        // made of, so a key cannot be too small.
        Ok(KeyPlan::new(storage).part(Source::Body, []))
    }
}

/// The setting of plugin.toml, which has also checked it.
fn ttl_ms(settings: &Settings) -> Result<u64, String> {
    let text = settings.iter().find(|(name, _)| name == "ttl_ms").map(|(_, text)| text.as_str());
    let text = text.ok_or("'ttl_ms' is not set")?;
    text.parse().map_err(|error| format!("'ttl_ms' is '{text}': {error}"))
}

weir_sdk::policy!(ByBody);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ttl_is_what_is_set() {
        assert_eq!(ttl_ms(&vec![("ttl_ms".into(), "5".into())]), Ok(5));
        assert!(ttl_ms(&Vec::new()).is_err());
    }
}
