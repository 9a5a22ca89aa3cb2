//! A policy whose `key` traps for some questions, and whose `admit` traps for some answers, by their lengths.

use weir_sdk::policy::{
    Admission, KeyDecision, KeyPlan, Keying, Outcome, Planning, RequestView, Settings, Source,
    Storage, StoreDecision,
};

const TTL_MS: u64 = 3_600_000;
const QUESTION: &str = "/query";

struct Fails;

impl Planning for Fails {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        let plan = KeyPlan::new(Storage::memory(TTL_MS));
        Ok([QUESTION, "/mode", "/limit", "/collection"]
            .into_iter()
            .fold(plan, |plan, field| plan.part(Source::JsonField(field.into()), [])))
    }
}

impl Keying for Fails {
    fn key(request: RequestView) -> KeyDecision {
        let question = request.fields.iter().find(|(pointer, _)| pointer == QUESTION);
        if question.is_none_or(|(_, text)| text.len() % 5 == 0) {
            std::process::abort()
        }
        KeyDecision::Lookup(Vec::new())
    }
}

impl Admission for Fails {
    fn admit(_request: RequestView, outcome: Outcome) -> StoreDecision {
        if outcome.body_bytes.is_none_or(|bytes| bytes % 5 == 0) {
            std::process::abort()
        }
        StoreDecision::Store(Storage::memory(TTL_MS))
    }
}

weir_sdk::policy!(Fails: Planning + Keying + Admission);
