//! A simple cache policy: an answer is kept under the canonical JSON of its request, for as long
//! as the settings say. Out of scope: tags, and every hook except planning.
//!
//! Settings, all optional. Times are in milliseconds, at most a day:
//! - `ttl_ms`: how long the memory tier keeps an answer, by default an hour.
//! - `shared_ttl_ms`: how long the shared tier keeps it, by default as long as `ttl_ms` says, or a day if
//!   that is not given either.
//! - `jitter_percent`: by up to how much, 0 to 100, the ttl of an entry is shortened, so that entries
//!   made together do not expire together. By default 0.
//! - `refresh_after_ms`: from this age on, a hit also has a new answer made. Less than each ttl.
//! - `early_refresh_percent`: how eagerly some hits do so before the ttl ends: 100 is the optimum of XFetch,
//!   more is earlier, up to 1,000. By default 0, which is not at all.
//! - `stale_while_revalidate_ms`: how long after its ttl an answer is served while a new one is made.
//! - `stale_if_error_ms`: how long after its ttl it is served if a new one cannot be made.
//! - `stale_after_change_ms`: how long after a change to something that it read it is served, with its own,
//!   older position, while a new one is made.
//! - `failure_ttl_ms`: how long a failure of the pipeline is given to later requests.
//! - `soft_timeout_ms`: how long a request waits before it gets an answer that `stale_if_error_ms` allows.
//! - `hard_timeout_ms`: how long a request waits at all, up to the pipeline's deadline.
//! - `key_epoch`: any u32, by default 0. Changing it makes every kept answer unreachable.
//!
//! What is not given is not allowed: no answer is served stale, and no failure is kept.

use weir_sdk::policy::{KeyPlan, Lifetime, Planning, Settings, Source, Storage};

const DEFAULT_TTL_MS: u64 = 3_600_000;
const DEFAULT_SHARED_TTL_MS: u64 = 86_400_000;
const MAX_MS: u64 = 86_400_000;
const MAX_EARLY_REFRESH_PERCENT: u64 = 1_000;

const NAMES: [&str; 12] = [
    "ttl_ms",
    "shared_ttl_ms",
    "jitter_percent",
    "refresh_after_ms",
    "early_refresh_percent",
    "stale_while_revalidate_ms",
    "stale_if_error_ms",
    "stale_after_change_ms",
    "failure_ttl_ms",
    "soft_timeout_ms",
    "hard_timeout_ms",
    "key_epoch",
];

struct ByBody;

impl Planning for ByBody {
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        if let Some((unknown, _)) = settings.iter().find(|(name, _)| !NAMES.contains(&&**name)) {
            return Err(format!("unknown setting '{unknown}': the settings are {}", names()));
        }
        let ttl_ms = ms(&settings, "ttl_ms", 1)?;
        // Whoever wants short lifetimes wants them in both tiers.
        let shared_ttl_ms = ms(&settings, "shared_ttl_ms", 1)?.or(ttl_ms);
        let ttl_ms = ttl_ms.unwrap_or(DEFAULT_TTL_MS);
        let shared_ttl_ms = shared_ttl_ms.unwrap_or(DEFAULT_SHARED_TTL_MS);
        let storage = Storage::memory(ttl_ms).shared_for(shared_ttl_ms);
        let refresh_after_ms = ms(&settings, "refresh_after_ms", 1)?;
        if let Some(after_ms) = refresh_after_ms.filter(|after| *after >= ttl_ms.min(shared_ttl_ms))
        {
            let least = ttl_ms.min(shared_ttl_ms);
            return Err(format!(
                "'refresh_after_ms' must be less than each ttl, of which the shortest is {least}, but \
                 is '{after_ms}'"
            ));
        }
        let kept = lifetime(&settings, refresh_after_ms)?;
        let mut plan = KeyPlan::new(storage.in_each_tier(kept)).part(Source::Body, []);
        let key_epoch = integer(&settings, "key_epoch", 0, u32::MAX.into())?;
        plan.key_epoch = key_epoch.unwrap_or_default() as u32;
        plan.failure_ttl_ms = ms(&settings, "failure_ttl_ms", 1)?;
        plan.timeouts.soft_ms = ms(&settings, "soft_timeout_ms", 1)?;
        plan.timeouts.hard_ms = ms(&settings, "hard_timeout_ms", 1)?;
        Ok(plan)
    }
}

/// What the settings add to a lifetime.
fn lifetime(
    settings: &Settings,
    refresh_after_ms: Option<u64>,
) -> Result<impl Fn(Lifetime) -> Lifetime, String> {
    let jitter = integer(settings, "jitter_percent", 0, 100)?.unwrap_or_default();
    let early = integer(settings, "early_refresh_percent", 0, MAX_EARLY_REFRESH_PERCENT)?;
    let revalidate = ms(settings, "stale_while_revalidate_ms", 0)?;
    let error = ms(settings, "stale_if_error_ms", 0)?;
    let change = ms(settings, "stale_after_change_ms", 0)?;
    Ok(move |lifetime: Lifetime| {
        let lifetime = lifetime
            .jitter_percent(jitter as u8)
            .early_refresh_percent(early.unwrap_or_default() as u16)
            .stale_while_revalidate_ms(revalidate.unwrap_or_default())
            .stale_if_error_ms(error.unwrap_or_default())
            .stale_after_change_ms(change.unwrap_or_default());
        match refresh_after_ms {
            Some(after) => lifetime.refresh_after_ms(after),
            None => lifetime,
        }
    })
}

fn ms(settings: &Settings, name: &str, least: u64) -> Result<Option<u64>, String> {
    integer(settings, name, least, MAX_MS)
}

fn integer(settings: &Settings, name: &str, least: u64, most: u64) -> Result<Option<u64>, String> {
    let Some((_, text)) = settings.iter().find(|(given, _)| given == name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(Some(value)),
        _ => Err(format!("'{name}' must be an integer from {least} to {most}, but is '{text}'")),
    }
}

fn names() -> String {
    NAMES.map(|name| format!("'{name}'")).join(", ")
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
    fn what_may_be_done_with_old_answers_is_the_same_in_both_tiers() {
        let settings = [
            ("jitter_percent", "7"),
            ("refresh_after_ms", "1"),
            ("early_refresh_percent", "2"),
            ("stale_while_revalidate_ms", "3"),
            ("stale_if_error_ms", "4"),
            ("stale_after_change_ms", "5"),
            ("failure_ttl_ms", "6"),
            ("soft_timeout_ms", "8"),
            ("hard_timeout_ms", "9"),
        ];
        let plan = plan(&settings).unwrap_or_else(|error| panic!("{error}"));
        let expected = |ttl_ms| {
            Lifetime::fresh(ttl_ms)
                .jitter_percent(7)
                .refresh_after_ms(1)
                .early_refresh_percent(2)
                .stale_while_revalidate_ms(3)
                .stale_if_error_ms(4)
                .stale_after_change_ms(5)
        };
        assert_eq!(plan.storage.memory, Some(expected(DEFAULT_TTL_MS)));
        assert_eq!(plan.storage.shared, Some(expected(DEFAULT_SHARED_TTL_MS)));
        assert_eq!(plan.failure_ttl_ms, Some(6));
        assert_eq!((plan.timeouts.soft_ms, plan.timeouts.hard_ms), (Some(8), Some(9)));
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
            ("jitter_percent", "101"),
            ("refresh_after_ms", "3600000"),
            ("early_refresh_percent", "1001"),
            ("stale_while_revalidate_ms", "-1"),
            ("stale_if_error_ms", "86400001"),
            ("stale_after_change_ms", "soon"),
            ("failure_ttl_ms", "0"),
            ("soft_timeout_ms", "0"),
            ("hard_timeout_ms", "0"),
            ("key_epoch", "4294967296"),
            ("ttl", "1"),
        ] {
            let error = plan(&[(name, text)]).err().unwrap_or_default();
            assert!(error.contains(&format!("'{name}'")), "{name}={text}: {error}");
        }
    }
}
