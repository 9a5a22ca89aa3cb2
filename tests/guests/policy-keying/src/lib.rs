//! A policy that computes part of the key: the plan's key is the body's `query` in lower case, and
//! `key` adds the header `x-segment`, also in lower case. It bypasses the cache for requests with
//! the header `x-bypass`.

use weir_sdk::policy::{
    KeyDecision, KeyPlan, Keying, Planning, RequestView, Settings, Source, Storage, Transform,
};

struct BySegment;

impl Planning for BySegment {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(300_000))
            .part(Source::JsonField("/query".into()), [Transform::Lowercase]))
    }
}

impl Keying for BySegment {
    fn key(request: RequestView) -> KeyDecision {
        let header = |name: &str| request.headers.iter().find(|(known, _)| known == name);
        if header("x-bypass").is_some() {
            return KeyDecision::Bypass("the request asks for it".into());
        }
        let segment = header("x-segment").map(|(_, value)| value.to_ascii_lowercase());
        let segment = segment.unwrap_or_default();
        KeyDecision::Lookup(vec![String::from_utf8_lossy(&segment).into_owned()])
    }
}

weir_sdk::policy!(BySegment: Planning + Keying);
