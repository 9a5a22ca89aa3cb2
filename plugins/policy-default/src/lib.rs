//! A simple cache policy: an answer is kept under the canonical JSON of its request, for as long
//! as the settings say. Out of scope: tags, and every hook except planning.
//!
//! Settings, all optional:
//! - `ttl_ms`: how long an answer stays fresh, in milliseconds: 1 to 86,400,000, by default
//!   300,000.
//! - `key_epoch`: any u32, by default 0. Changing it makes every kept answer unreachable.

use weir_sdk::policy::{KeyPlan, Planning, Settings, Source, Storage};

const DEFAULT_TTL_MS: u64 = 300_000;
const MAX_TTL_MS: u64 = 86_400_000;

struct ByBody;

impl Planning for ByBody {
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        let mut ttl_ms = DEFAULT_TTL_MS;
        let mut key_epoch = 0;
        for (name, text) in settings {
            match name.as_str() {
                "ttl_ms" => ttl_ms = integer(&name, &text, 1, MAX_TTL_MS)?,
                "key_epoch" => key_epoch = integer(&name, &text, 0, u32::MAX.into())? as u32,
                _ => return Err(unknown(&name)),
            }
        }
        Ok(KeyPlan {
            key_epoch,
            ..KeyPlan::new(Storage::both_tiers(ttl_ms)).part(Source::Body, [])
        })
    }
}

fn integer(name: &str, text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("'{name}' must be an integer from {least} to {most}, but is '{text}'")),
    }
}

fn unknown(name: &str) -> String {
    format!("unknown setting '{name}': the settings are 'ttl_ms' and 'key_epoch'")
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
        for (settings, ttl_ms, key_epoch) in [
            ([].as_slice(), 300_000, 0),
            (&[("ttl_ms", "1")], 1, 0),
            (&[("key_epoch", "4294967295"), ("ttl_ms", "86400000")], 86_400_000, u32::MAX),
        ] {
            let plan = plan(settings).unwrap_or_else(|error| panic!("{settings:?}: {error}"));
            let storage = &plan.storage;
            assert_eq!(storage.memory.map(|lifetime| lifetime.ttl_ms()), Some(ttl_ms));
            assert_eq!((storage.shared, plan.key_epoch), (storage.memory, key_epoch));
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
            ("key_epoch", "4294967296"),
            ("ttl", "1"),
        ] {
            let error = plan(&[(name, text)]).err().unwrap_or_default();
            assert!(error.contains(&format!("'{name}'")), "{name}={text}: {error}");
        }
    }
}
