//! A policy whose `key` never ends: the cache is bypassed, and the request is answered.

use weir_sdk::policy::{
    KeyDecision, KeyPlan, Keying, Planning, RequestView, Settings, Source, Storage,
};

struct Loops;

impl Planning for Loops {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(300_000)).part(Source::Body, []))
    }
}

impl Keying for Loops {
    fn key(_request: RequestView) -> KeyDecision {
        loop {
            std::hint::spin_loop();
        }
    }
}

weir_sdk::policy!(Loops: Planning + Keying);
