//! A policy that does not have every third answer stored, by its length.

use weir_sdk::policy::{
    Admission, KeyPlan, Outcome, Planning, RequestView, Settings, Source, Storage, StoreDecision,
};

const TTL_MS: u64 = 3_600_000;

struct Refuses;

impl Planning for Refuses {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(TTL_MS)).part(Source::Body, []))
    }
}

impl Admission for Refuses {
    fn admit(_request: RequestView, outcome: Outcome) -> StoreDecision {
        match outcome.body_bytes {
            Some(bytes) if bytes % 3 != 0 => StoreDecision::Store(Storage::memory(TTL_MS)),
            _ => StoreDecision::DoNotStore("its length".into()),
        }
    }
}

weir_sdk::policy!(Refuses: Planning + Admission);
