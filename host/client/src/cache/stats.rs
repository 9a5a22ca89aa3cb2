//! `weir cache stats`: how the caches are used, as tables.

use std::fmt::Write as _;

use serde_json::Value;

use crate::table::table;

/// How many of the reasons for misses are named, those with the most misses.
const REASONS: usize = 2;

/// The use of all caches, or of that of one tenant.
pub(super) fn shown(answer: &Value) -> String {
    let mut text = String::new();
    for tenant in list(&answer["tenants"]) {
        let (name, seconds) = (said(&tenant["tenant"]), number(&answer["uptime_seconds"]));
        let separator = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{separator}tenant {name}, in the {seconds} s since the start\n");
        table(&mut text, &pipelines(&tenant["query"]));
        let _ = writeln!(text);
        table(&mut text, &tiers(tenant));
        hottest(&mut text, &tenant["query"]["hottest"], number(&answer["sampling"]["one_hit_in"]));
    }
    text
}

/// A line for each pipeline, and one for the texts that were embedded.
fn pipelines(query: &Value) -> Vec<Vec<String>> {
    let heading = [
        "pipeline",
        "policy",
        "requests",
        "1 min",
        "5 min",
        "1 h",
        "all",
        "stale",
        "collapsed",
        "misses",
    ];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for one in list(&query["pipelines"]) {
        let policy = one["policy"].as_str().unwrap_or("-");
        let mut row = vec![said(&one["pipeline"]), policy.to_owned(), one["requests"].to_string()];
        row.extend(ratios(&one["hit_ratio"]));
        row.push(total(&one["stale"]).to_string());
        row.push(one["collapsed"].to_string());
        row.push(misses(&one["misses"]));
        rows.push(row);
    }
    rows
}

fn ratios(ratios: &Value) -> [String; 4] {
    ["last_minute", "last_5_minutes", "last_hour", "since_start"].map(|window| {
        let ratio = ratios[window]["ratio"].as_f64();
        ratio.map_or("-".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))
    })
}

/// How many there were, and of what kind most of them.
fn misses(by_reason: &Value) -> String {
    let mut reasons: Vec<_> = by_reason
        .as_object()
        .into_iter()
        .flatten()
        .map(|(reason, many)| (reason.as_str(), number(many)))
        .collect();
    reasons.sort_by_key(|(_, many)| std::cmp::Reverse(*many));
    let named = reasons.iter().take(REASONS).map(|(reason, many)| format!("{reason} {many}"));
    let named: Vec<_> = named.collect();
    match named.is_empty() {
        true => "0".to_owned(),
        false => format!("{} ({})", total(by_reason), named.join(", ")),
    }
}

fn tiers(tenant: &Value) -> Vec<Vec<String>> {
    let heading = ["tier", "of", "hits", "misses", "entries", "bytes"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for (operation, what) in [("query", "answers"), ("embedding", "vectors")] {
        for tier in list(&tenant[operation]["tiers"]) {
            let missed = match &tier["misses"] {
                Value::Object(_) => misses(&tier["misses"]),
                many => many.to_string(),
            };
            let (entries, bytes) = contents(tier);
            let shown = |many: Option<u64>| many.map_or("-".to_owned(), |many| many.to_string());
            let hits = tier["hits"].to_string();
            rows.push(vec![
                said(&tier["tier"]),
                what.to_owned(),
                hits,
                missed,
                shown(entries),
                shown(bytes),
            ]);
        }
    }
    if let Value::Object(on_disk) = &tenant["on_disk"] {
        let of_both = ["disk", "both", "-", "-"].map(ToOwned::to_owned);
        let contents = ["entries", "bytes"].map(|key| on_disk[key].to_string());
        rows.push(of_both.into_iter().chain(contents).collect());
    }
    rows
}

/// The entries and the bytes of a tier, of all models if there are several, as far as they are known.
fn contents(tier: &Value) -> (Option<u64>, Option<u64>) {
    let sum = |key: &str| {
        let of_models = list(&tier["models"]).map(|model| model[key].as_u64());
        tier[key]
            .as_u64()
            .or_else(|| of_models.sum::<Option<u64>>().filter(|_| tier["models"].is_array()))
    };
    (sum("entries"), sum("bytes"))
}

fn hottest(text: &mut String, keys: &Value, one_hit_in: u64) {
    if list(keys).next().is_none() {
        return;
    }
    let _ = writeln!(text, "\nhottest keys, estimated from one hit in {one_hit_in}\n");
    let heading = ["hits", "at least", "pipeline", "key"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for one in list(keys) {
        let hits = number(&one["estimated_hits"]);
        let at_least = hits.saturating_sub(number(&one["overestimated_by_at_most"]));
        rows.push(vec![
            hits.to_string(),
            at_least.to_string(),
            said(&one["pipeline"]),
            said(&one["key"]),
        ]);
    }
    table(text, &rows);
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn said(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

fn total(by_reason: &Value) -> u64 {
    by_reason.as_object().into_iter().flatten().map(|(_, many)| number(many)).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cache_is_tables() {
        let window = |hits: u64, lookups: u64, ratio: Option<f64>| json!({ "hits": hits, "lookups": lookups, "ratio": ratio });
        let ratios = json!({
            "last_minute": window(0, 0, None),
            "last_5_minutes": window(1, 2, Some(0.5)),
            "last_hour": window(2, 3, Some(2.0 / 3.0)),
            "since_start": window(2, 3, Some(2.0 / 3.0)),
        });
        let answer = json!({
            "uptime_seconds": 61,
            "sampling": { "one_hit_in": 64 },
            "tenants": [{
                "tenant": "default",
                "on_disk": { "entries": 5, "bytes": 20480 },
                "query": {
                    "pipelines": [{
                        "pipeline": "search", "policy": "default", "requests": 15, "hit_ratio": ratios,
                        "stale": { "stale-if-error": 2, "stale-after-change": 1 }, "collapsed": 4,
                        "misses": { "absent": 1, "changed": 3, "expired": 2 },
                    }],
                    "tiers": [
                        { "tier": "memory", "hits": 2, "misses": { "absent": 1 }, "entries": 3, "bytes": 900 },
                        { "tier": "shared", "hits": 0, "misses": {} },
                    ],
                    "hottest": [{
                        "pipeline": "search", "key": "ab", "estimated_hits": 128, "overestimated_by_at_most": 64,
                    }],
                },
                "embedding": {
                    "tiers": [{
                        "tier": "memory", "hits": 7, "misses": 8,
                        "models": [{ "entries": 1, "bytes": 10 }, { "entries": 2, "bytes": 20 }],
                    }],
                },
            }],
        });
        let expected = "\
tenant default, in the 61 s since the start

pipeline  policy   requests  1 min  5 min   1 h     all     stale  collapsed  misses
search    default  15        -      50.0 %  66.7 %  66.7 %  3      4          6 (changed 3, expired 2)

tier    of       hits  misses        entries  bytes
memory  answers  2     1 (absent 1)  3        900
shared  answers  0     0             -        -
memory  vectors  7     8             3        30
disk    both     -     -             5        20480

hottest keys, estimated from one hit in 64

hits  at least  pipeline  key
128   64        search    ab
";
        assert_eq!(shown(&answer), expected);
    }
}
