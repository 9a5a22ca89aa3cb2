//! A policy with a key of its own: the body's `query` in lower case, nothing else. Bypasses the
//! cache for requests with the header `x-bypass`, and for those without a `query`.

use weir_sdk::policy::{
    KeyDecision, KeyPlan, Keying, Planning, RequestView, Settings, Source, Storage,
};

const QUERY: &str = "/query";
const BYPASS: &str = "x-bypass";

struct ByQuery;

impl Planning for ByQuery {
    fn plan(_settings: Settings) -> Result<KeyPlan, String> {
        Ok(KeyPlan::new(Storage::memory(300_000))
            .part(Source::JsonField(QUERY.into()), [])
            .part(Source::Header(BYPASS.into()), []))
    }
}

impl Keying for ByQuery {
    fn key(request: RequestView) -> KeyDecision {
        if request.headers.iter().any(|(name, _)| name == BYPASS) {
            return KeyDecision::Bypass("the request asks for it".into());
        }
        match request.fields.iter().find(|(pointer, _)| pointer == QUERY) {
            Some((_, json)) => KeyDecision::Lookup(vec![json.to_lowercase()]),
            None => KeyDecision::Bypass("there is no query".into()),
        }
    }
}

weir_sdk::policy!(ByQuery: Planning + Keying);
