//! An explanation as JSON, with a sentence that says why.

use std::time::Duration;

use serde_json::{Value, json};
use weir_cache::lifetime::Lifetime;
use weir_cache::tier::Miss;
use weir_runtime::answers::Via;
use weir_runtime::answers::explain::{Expected, Explanation, Kept};
use weir_runtime::deploy::Deployment;
use weir_runtime::wishes::Wishes;

use crate::http::handler;

/// The explanation of a request to `deployment`.
pub(super) fn shown(explanation: &Explanation, deployment: &Deployment, wishes: Wishes) -> Value {
    let Explanation { expected, key, parts, memory, shared } = explanation;
    let policy = deployment.policy.as_ref().map(|policy| policy.name.as_str());
    let parts: Vec<_> =
        parts.iter().map(|(part, text)| json!({ "part": part, "text": text })).collect();
    json!({
        "tenant": deployment.tenant().name.as_str(),
        "pipeline": deployment.name().as_str(),
        "policy": policy,
        "outcome": outcome(expected),
        "cache_status": cache_status(expected, wishes),
        "why": why(explanation),
        "key": key.as_ref().map(ToString::to_string),
        "parts": parts,
        "memory": memory.as_ref().map(kept),
        "shared": shared.as_ref().map(|shared| match shared {
            Ok(found) => kept(found),
            Err(miss) => json!({ "miss": miss.reason() }),
        }),
    })
}

fn outcome(expected: &Expected) -> &'static str {
    match expected {
        Expected::Served(Via::Hit { .. }) => "hit",
        Expected::Served(Via::SharedHit { .. }) => "shared-hit",
        Expected::Served(Via::Stale { .. }) => "stale",
        Expected::Served(Via::Bypass(_)) => "bypass",
        Expected::Served(Via::Collapsed | Via::Stored | Via::NotStored(_)) | Expected::Run => "run",
        Expected::RunAlone(_) => "run-alone",
        Expected::KeptFailure => "kept-failure",
        Expected::NotCached => "not-cached",
        Expected::NoSlot => "overloaded",
    }
}

/// What `Cache-Status` begins with, if there is an answer: times go on, and a run can end in several
/// ways.
fn cache_status(expected: &Expected, wishes: Wishes) -> Option<String> {
    let shown = |via: &Via| handler::cache_status(via, wishes).to_str().ok().map(ToOwned::to_owned);
    match expected {
        Expected::Served(via) => shown(via),
        Expected::RunAlone(reason) => shown(&Via::NotStored(*reason)),
        Expected::Run | Expected::KeptFailure | Expected::NotCached | Expected::NoSlot => None,
    }
}

fn why(explanation: &Explanation) -> String {
    match &explanation.expected {
        Expected::Served(Via::Hit { .. }) => {
            "The memory tier has an answer that is fresh, and nothing that it was made from has changed."
                .to_owned()
        }
        Expected::Served(Via::SharedHit { .. }) => format!(
            "The shared tier has an answer that is fresh, and nothing that it was made from has changed. {}",
            of_memory(explanation)
        ),
        Expected::Served(Via::Stale { reason, .. }) => {
            format!("The policy allows the old answer: {}. {}", reason.as_str(), of_memory(explanation))
        }
        Expected::Served(Via::Bypass(_)) => {
            "The cache is not used: the pipeline writes, or its policy, if it has one, says so or has failed."
                .to_owned()
        }
        Expected::RunAlone(reason) => format!(
            "The pipeline runs for this request alone: {}. {}",
            reason.as_str(),
            of_memory(explanation)
        ),
        Expected::KeptFailure => "The pipeline has failed for such a request, and the policy keeps failures.".to_owned(),
        Expected::NoSlot => "All slots are in use in which the policy could be asked for the key.".to_owned(),
        Expected::NotCached | Expected::Run | Expected::Served(_) => {
            format!("{} {}", of_memory(explanation), of_shared(explanation))
        }
    }
}

fn of_memory(explanation: &Explanation) -> String {
    let Some(kept) = &explanation.memory else {
        return "The memory tier has no answer under this key.".to_owned();
    };
    match reason(kept) {
        Some(reason) => format!("The answer of the memory tier is no hit: {reason}."),
        None => "The answer of the memory tier is true, but the request wants a newer one, or some of what it \
                 was made from lags behind."
            .to_owned(),
    }
}

fn of_shared(explanation: &Explanation) -> String {
    match &explanation.shared {
        None => "The shared tier is not asked.".to_owned(),
        Some(Err(Miss::Absent)) => "Nor has the shared tier.".to_owned(),
        Some(Err(miss)) => format!("The shared tier has no answer either: {}.", miss.reason()),
        Some(Ok(kept)) => {
            let reason = reason(kept).unwrap_or_else(|| "the request wants a newer one".to_owned());
            format!("The answer of the shared tier is no hit: {reason}.")
        }
    }
}

/// Why an entry is no hit, if that is in the entry.
fn reason(kept: &Kept) -> Option<String> {
    let as_of = kept.as_of;
    if kept.is_invalidated {
        return Some(format!("it was invalidated after it was made at position {as_of}"));
    }
    let changed = kept.depends_on.iter().find_map(|one| match one.last_changed {
        None => Some(format!("{} has changed, and when was forgotten", one.tag)),
        Some(last) if last > as_of => Some(format!(
            "{} has changed at position {last}, and it was made at position {as_of}",
            one.tag
        )),
        Some(_) => None,
    });
    if changed.is_some() {
        return changed;
    }
    if kept.is_below_floor {
        return Some(format!(
            "everything was invalidated after position {as_of}, at which it was made"
        ));
    }
    (kept.age >= kept.lifetime.ttl).then(|| "its ttl has passed".to_owned())
}

fn kept(kept: &Kept) -> Value {
    let Lifetime {
        ttl,
        refresh_after,
        early_refresh_percent,
        stale_while_revalidate,
        stale_if_error,
        stale_after_change,
    } = kept.lifetime;
    let depends_on: Vec<_> = kept
        .depends_on
        .iter()
        .map(|one| {
            let last = one.last_changed.map(|last| last.0);
            let changed = last.is_none_or(|last| last > kept.as_of.0);
            json!({ "tag": one.tag.as_str(), "last_position": last, "changed": changed })
        })
        .collect();
    json!({
        "age_ms": ms(kept.age),
        "as_of": kept.as_of.0,
        "compute_ms": ms(kept.compute),
        "body_bytes": kept.body_bytes,
        "invalidated": kept.is_invalidated || kept.is_below_floor,
        "lifetime": {
            "ttl_ms": ms(ttl),
            "refresh_after_ms": refresh_after.map(ms),
            "early_refresh_percent": early_refresh_percent,
            "stale_while_revalidate_ms": ms(stale_while_revalidate),
            "stale_if_error_ms": ms(stale_if_error),
            "stale_after_change_ms": ms(stale_after_change),
        },
        "depends_on": depends_on,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
