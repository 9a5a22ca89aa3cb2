//! A simple cache policy: an answer is kept under the canonical JSON of its request, for as long
//! as the settings say. Out of scope: tags, and every hook except planning.
//!
//! Settings, all optional:
//! - `ttl_ms`: how long the memory tier keeps an answer, in milliseconds: 1 to 86,400,000, by default
//!   an hour.
//! - `shared_ttl_ms`: how long the shared tier keeps it: 1 to 86,400,000, by default as long as
//!   `ttl_ms` says, or a day if that is not given either.
//! - `key_epoch`: any u32, by default 0. Changing it makes every kept answer unreachable.

use weir_sdk::policy::{KeyPlan, Planning, Settings, Source, Storage};

const DEFAULT_TTL_MS: u64 = 3_600_000;
const DEFAULT_SHARED_TTL_MS: u64 = 86_400_000;
const MAX_TTL_MS: u64 = 86_400_000;

struct ByBody;

impl Planning for ByBody {
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        let (mut ttl_ms, mut shared_ttl_ms) = (None, None);
        let mut key_epoch = 0;
        for (name, text) in settings {
            match name.as_str() {
                "ttl_ms" => ttl_ms = Some(integer(&name, &text, 1, MAX_TTL_MS)?),
                "shared_ttl_ms" => shared_ttl_ms = Some(integer(&name, &text, 1, MAX_TTL_MS)?),
                "key_epoch" => key_epoch = integer(&name, &text, 0, u32::MAX.into())? as u32,
                _ => return Err(unknown(&name)),
            }
        }
        // Whoever wants short lifetimes wants them in both tiers.
        let shared_ttl_ms = shared_ttl_ms.or(ttl_ms).unwrap_or(DEFAULT_SHARED_TTL_MS);
        let storage = Storage::memory(ttl_ms.unwrap_or(DEFAULT_TTL_MS)).shared_for(shared_ttl_ms);
        Ok(KeyPlan { key_epoch, ..KeyPlan::new(storage).part(Source::Body, []) })
    }
}

fn integer(name: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("'{name}' must be an integer from {least} to {most}, but is '{text}'")),
    }
}

fn unknown(name: &str) -> String {
    format!("unknown setting '{name}': the settings are 'ttl_ms', 'shared_ttl_ms' and 'key_epoch'")
}

weir_sdk::policy!(ByBody);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(settings: &[(&str, &str)]) -> Result<KeyPlan, String> {
        let owned = |(name, text): &(&str, &str)| ((*name).into(), (*text).into());
        ByBody::plan(settings.iter().map(owned).collect())
    }

    #[test]
    fn the_key_is_the_body_and_the_lifetimes_are_settings() {
        const DAY: u64 = 86_400_000;
        for (settings, ttl_ms, shared_ttl_ms, key_epoch) in [
            ([].as_slice(), 3_600_000, DAY, 0),
            (&[("ttl_ms", "1")], 1, 1, 0),
            (&[("shared_ttl_ms", "5")], 3_600_000, 5, 0),
            (&[("ttl_ms", "1"), ("shared_ttl_ms", "5")], 1, 5, 0),
            (&[("key_epoch", "4294967295"), ("ttl_ms", "86400000")], DAY, DAY, u32::MAX),
        ] {
            let plan = plan(settings).unwrap_or_else(|error| panic!("{settings:?}: {error}"));
            let storage = &plan.storage;
            assert_eq!(storage.memory.map(|lifetime| lifetime.ttl_ms()), Some(ttl_ms));
            assert_eq!(storage.shared.map(|lifetime| lifetime.ttl_ms()), Some(shared_ttl_ms));
            assert_eq!(plan.key_epoch, key_epoch);
            assert!(matches!(plan.key.as_slice(), [part] if matches!(part.source, Source::Body)));
            assert!(plan.storage.tags.is_empty());
        }
    }

    #[test]
    fn a_bad_setting_is_named() {
        for (name, text) in [
            ("ttl_ms", ""),
            ("ttl_ms", "0"),
            ("ttl_ms", "-1"),
            ("ttl_ms", "5m"),
            ("ttl_ms", "86400001"),
            ("shared_ttl_ms", "0"),
            ("key_epoch", "4294967296"),
            ("ttl", "1"),
        ] {
            let error = plan(&[(name, text)]).err().unwrap_or_default();
            assert!(error.contains(&format!("'{name}'")), "{name}={text}: {error}");
        }
    }
}
