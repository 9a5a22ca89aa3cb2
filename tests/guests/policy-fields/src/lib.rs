//! A policy without hooks for searches: the key has the fields of a search, and settings say how many keys
//! there are, and for how long answers live.
//!
//! - `lowercase`: with `true`, questions that differ only in case have one key.
//! - `ttl_ms`: how long an answer is kept, by default an hour.

use weir_sdk::policy::{KeyPlan, Planning, Settings, Source, Storage, Transform};

const DEFAULT_TTL_MS: u64 = 3_600_000;

struct ByFields;

impl Planning for ByFields {
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        let (mut ttl_ms, mut transforms) = (DEFAULT_TTL_MS, Vec::new());
        for (name, value) in &settings {
            match (&**name, &**value) {
                ("ttl_ms", ms) => ttl_ms = ms.parse().map_err(|_| "'ttl_ms' must be an integer")?,
                ("lowercase", "true") => transforms.push(Transform::Lowercase),
                ("lowercase", "false") => {}
                _ => return Err(format!("unknown setting '{name}' or value '{value}'")),
            }
        }
        let plan = KeyPlan::new(Storage::memory(ttl_ms))
            .part(Source::JsonField("/query".into()), transforms);
        Ok(["/mode", "/limit", "/collection"]
            .into_iter()
            .fold(plan, |plan, field| plan.part(Source::JsonField(field.into()), [])))
    }
}

weir_sdk::policy!(ByFields);
