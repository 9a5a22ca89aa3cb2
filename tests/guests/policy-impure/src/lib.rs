//! A policy with an import. Decisions must depend only on their input, so it is refused when it is
//! loaded.

use weir_sdk::policy::{KeyPlan, Planning, Settings, Source, Storage};
use weir_sdk::settings;

struct Impure;

impl Planning for Impure {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        let ttl_ms = settings::get("ttl_ms").and_then(|text| text.parse().ok());
        Ok(KeyPlan::new(Storage::memory(ttl_ms.unwrap_or(1))).part(Source::Body, []))
    }
}

weir_sdk::policy!(Impure);
