//! `weir plugin shadow`: tries a plugin as a policy without effect, and shows what it would have done.

use std::fmt::Write as _;

use anyhow::bail;
use reqwest::{Method, header};
use serde_json::{Value, json};
use weir_core::name::Name;

use super::{json_of, settings, text};
use crate::admin::Admin;
use crate::table::table;

/// How many examples of keys are shown; the server has more.
const SHOWN_EXAMPLES: usize = 3;
/// The longest part of a key that is shown, in characters.
const SHOWN_CHARACTERS: usize = 60;

/// The arguments of `weir plugin shadow`.
#[derive(Debug, clap::Args)]
pub struct Shadow {
    /// The name of the policy.
    #[arg(value_parser = |name: &str| Name::new(name))]
    name: Name,
    /// The digest of a plugin to try. Without it, what the one that is being tried has found out is shown.
    digest: Option<String>,
    /// A setting that differs from the manifest's default.
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "digest")]
    settings: Vec<String>,
    /// Show what it has found out and end it.
    #[arg(long, conflicts_with = "digest")]
    end: bool,
}

impl Shadow {
    /// Does it. Returns the server's answer and how it is shown to people.
    pub(super) async fn run(&self, admin: &Admin) -> anyhow::Result<(Value, fn(&Value) -> String)> {
        let path = format!("/admin/v1/policies/{}/shadow", self.name);
        let Some(digest) = &self.digest else {
            let method = if self.end { Method::DELETE } else { Method::GET };
            let report = json_of(admin.send(admin.request(method, &path)).await?).await?;
            if !report["deployed"].is_object() || !report["candidate"].is_object() {
                bail!("the server's report is not one");
            }
            return Ok((report, shown));
        };
        let body = json!({ "digest": digest, "settings": settings(&self.settings)? });
        let request = admin.request(Method::POST, &path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        Ok((json_of(admin.send(request.body(body.to_string())).await?).await?, begun))
    }
}

fn begun(answer: &Value) -> String {
    format!("{} is tried in shadow\n", text(&answer["policy"]))
}

/// A report.
fn shown(report: &Value) -> String {
    let mut shown = String::new();
    let requests = &report["requests"];
    let ended = report["ended"].as_str().map(|why| format!(", and has ended ({why})"));
    let _ = writeln!(
        shown,
        "{} has been tried as {} for {} s{}: {} requests, {} of them seen, {} dropped",
        text(&report["digest"]),
        text(&report["policy"]),
        report["for_s"],
        ended.unwrap_or_default(),
        requests["ended"],
        requests["seen"],
        requests["dropped"],
    );
    if let Some(why) = report["estimated_because"].as_array().filter(|why| !why.is_empty()) {
        let why: Vec<_> = why.iter().map(text).collect();
        let _ = writeln!(shown, "The numbers are estimates: {}", why.join(", "));
    }
    shown.push('\n');
    table(&mut shown, &sides(report));
    keys(&mut shown, report);
    tags(&mut shown, &report["tags"]);
    for failure in report["candidate"]["failures"].as_array().into_iter().flatten() {
        let _ = writeln!(
            shown,
            "\n{} failed {} times ({}): {}",
            text(&failure["hook"]),
            failure["count"],
            text(&failure["kind"]),
            text(&failure["example"]),
        );
    }
    if let Some(hooks) = report["not_asked"].as_array().filter(|hooks| !hooks.is_empty()) {
        let hooks: Vec<_> = hooks.iter().map(text).collect();
        let _ = writeln!(shown, "\nNot asked: {}", hooks.join(", "));
    }
    shown
}

/// What the two policies would have done, side by side.
fn sides(report: &Value) -> Vec<Vec<String>> {
    let [deployed, candidate] = ["deployed", "candidate"].map(|side| &report[side]);
    let mut rows = vec![["", "deployed", "candidate"].map(ToOwned::to_owned).to_vec()];
    let mut row = |name: &str, of: &dyn Fn(&Value) -> String| {
        rows.push(vec![name.to_owned(), of(deployed), of(candidate)]);
    };
    row("hit ratio", &|side| match side["hit_ratio"].as_f64() {
        Some(ratio) => format!("{ratio:.3}"),
        None => "-".to_owned(),
    });
    for (name, key) in [
        ("lookups", "lookups"),
        ("hits", "hits"),
        ("misses", "misses"),
        ("bypassed", "bypassed"),
        ("stored", "stored"),
    ] {
        row(name, &|side| side[key].to_string());
    }
    row("not stored", &|side| by_reason(&side["not_stored"]));
    row("refused", &|side| by_reason(&side["refused"]));
    row("ttl in ms, min/median/max", &|side| spread(&side["ttl_ms"], ["min", "median", "max"]));
    row("decisions", &|side| side["cost"]["decisions"].to_string());
    row("µs, median/p99", &|side| spread(&side["cost"]["took_us"], ["median", "p99"]));
    row("fuel, median/p99", &|side| spread(&side["cost"]["fuel"], ["median", "p99"]));
    rows
}

fn by_reason(counts: &Value) -> String {
    let counts = counts.as_object().into_iter().flatten();
    let all: Vec<_> = counts.map(|(reason, count)| format!("{count} {reason}")).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(", ") }
}

fn spread<const N: usize>(distribution: &Value, keys: [&str; N]) -> String {
    match distribution.is_object() {
        true => keys.map(|key| distribution[key].to_string()).join("/"),
        false => "-".to_owned(),
    }
}

fn keys(shown: &mut String, report: &Value) {
    let keys = &report["keys"];
    let _ = writeln!(
        shown,
        "\n{} of {} keys are split, into {}; {} are merged, into {}",
        keys["split"], keys["deployed"], keys["split_into"], keys["merged"], keys["merged_into"],
    );
    if keys["merged_different"] != 0 || report["other_answers"] != 0 {
        let _ = writeln!(
            shown,
            "WARNING: {} of them have different answers, and {} requests would have got another's",
            keys["merged_different"], report["other_answers"],
        );
    }
    for (what, examples) in [("split", "split_examples"), ("merged", "merge_examples")] {
        let examples = keys[examples].as_array().into_iter().flatten();
        for example in examples.take(SHOWN_EXAMPLES) {
            let answers = text(&example["answers"]);
            let _ = writeln!(shown, "  {what}, answers {answers}: {}", parts(&example["parts"]));
            for other in example["others"].as_array().into_iter().flatten() {
                let _ = writeln!(shown, "    {}", parts(other));
            }
        }
    }
}

fn parts(parts: &Value) -> String {
    let part = |part: &Value| {
        let whole = part["text"].as_str().unwrap_or("(absent)");
        let mut shown: String = whole.chars().take(SHOWN_CHARACTERS).collect();
        if shown.len() < whole.len() {
            shown.push('…');
        }
        format!("{} = {shown}", text(&part["part"]))
    };
    let all: Vec<_> = parts.as_array().into_iter().flatten().map(part).collect();
    all.join(", ")
}

fn tags(shown: &mut String, tags: &Value) {
    for (what, key) in [("added", "added"), ("missing", "missing")] {
        let all = tags[key].as_array().into_iter().flatten();
        let all: Vec<_> = all.map(|one| format!("{} ({})", text(&one[0]), one[1])).collect();
        if !all.is_empty() {
            let _ = writeln!(shown, "\nTags {what}: {}", all.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_for_people() {
        let side = |hits: u64| {
            json!({
                "hit_ratio": 0.5, "lookups": 2 * hits, "hits": hits, "misses": hits, "bypassed": 0,
                "stored": 1, "not_stored": { "policy": 1 }, "refused": { "status 404": 1 },
                "ttl_ms": { "min": 1, "median": 2, "p99": 3, "max": 4 }, "failures": [],
                "cost": { "decisions": 0, "took_us": null, "fuel": null },
            })
        };
        let part = |text: &str| json!([{ "part": "body", "text": text }]);
        let mut report = json!({
            "policy": "default", "digest": "9f2c", "for_s": 60, "ended": "swapped",
            "requests": { "ended": 10, "seen": 9, "dropped": 1 },
            "estimated_because": ["requests-dropped"],
            "deployed": side(1), "candidate": side(2), "other_answers": 3,
            "keys": {
                "deployed": 4, "split": 0, "split_into": 0, "merged": 2, "merged_into": 1,
                "merged_different": 1, "split_examples": [],
                "merge_examples": [
                    { "answers": "different", "parts": part("x"), "others": [part("a"), part("b")] },
                ],
            },
            "tags": { "added": [["policy:default:new", 2]], "missing": [] },
            "not_asked": ["changes"],
        });
        report["candidate"]["failures"] =
            json!([{ "hook": "keying", "kind": "trapped", "count": 2, "example": "unreachable" }]);
        let shown = shown(&report);
        for line in [
            "9f2c has been tried as default for 60 s, and has ended (swapped): 10 requests, 9 of them seen, 1 dropped",
            "The numbers are estimates: requests-dropped",
            "ttl in ms, min/median/max  1/2/4         1/2/4",
            "0 of 4 keys are split, into 0; 2 are merged, into 1",
            "WARNING: 1 of them have different answers, and 3 requests would have got another's",
            "  merged, answers different: body = x",
            "    body = b",
            "Tags added: policy:default:new (2)",
            "keying failed 2 times (trapped): unreachable",
            "Not asked: changes",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\nin\n{shown}");
        }
    }
}
