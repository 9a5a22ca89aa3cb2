//! A policy whose `key` traps: the cache is bypassed, and the request is answered.

use weir_sdk::policy::{
    KeyDecision, KeyPlan, Keying, Planning, RequestView, Settings, Source, Storage,
};

struct Traps;

impl Planning for Traps {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(300_000)).part(Source::Body, []))
    }
}

impl Keying for Traps {
    fn key(_request: RequestView) -> KeyDecision {
        std::process::abort()
    }
}

weir_sdk::policy!(Traps: Planning + Keying);
