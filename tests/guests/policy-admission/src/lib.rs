//! A policy that stores less than its plan allows: only answers of status 200 and at most 1 KiB,
//! for a minute, under the tag `admitted`.

use weir_sdk::policy::{
    Admission, KeyPlan, Outcome, Planning, RequestView, Settings, Source, Storage, StoreDecision,
};

struct SmallAnswers;

impl Planning for SmallAnswers {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(300_000)).part(Source::Body, []))
    }
}

impl Admission for SmallAnswers {
    fn admit(_request: RequestView, outcome: Outcome) -> StoreDecision {
        if outcome.status != 200 {
            return StoreDecision::DoNotStore(format!("status {}", outcome.status));
        }
        if outcome.body_bytes.is_none_or(|bytes| bytes > 1024) {
            return StoreDecision::DoNotStore(format!("{:?} bytes", outcome.body_bytes));
        }
        StoreDecision::Store(Storage { tags: vec!["admitted".into()], ..Storage::memory(60_000) })
    }
}

weir_sdk::policy!(SmallAnswers: Planning + Admission);
