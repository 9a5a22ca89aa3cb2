//! A policy with the hooks `failures` and `changes`. An answer has the tag that the body's `tag` names. A
//! change of the document with the id `a` ends the answers with the tag `a`, whatever they read; the
//! ids `trap` and `too-many` have the policy fail.
//!
//! An answer is fresh for a millisecond if the setting `short` is given. What follows a failure
//! depends on the pipeline's code: `kept` is kept, `uncovered` is not covered by an old answer, and
//! `unforeseen` has the policy fail.

use weir_sdk::policy::{
    Admission, Aftermath, Change, Changes, FailedRun, FailureKind, Failures, KeyPlan, Lifetime,
    Outcome, Planning, RequestView, Settings, Source, Storage, StoreDecision,
};

const DAY_MS: u64 = 86_400_000;

struct Hooks;

impl Planning for Hooks {
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        let is_short = settings.iter().any(|(name, _)| name == "short");
        let storage = if is_short { short() } else { long() };
        let fields = ["/tag", "/collection", "/text", "/work"];
        let plan = KeyPlan::new(storage);
        Ok(fields
            .into_iter()
            .fold(plan, |plan, field| plan.part(Source::JsonField(field.into()), [])))
    }
}

fn short() -> Storage {
    Storage::memory(1).in_each_tier(|lifetime: Lifetime| {
        lifetime.stale_if_error_ms(DAY_MS).stale_after_change_ms(DAY_MS)
    })
}

fn long() -> Storage {
    Storage::memory(DAY_MS).shared_for(DAY_MS)
}

impl Admission for Hooks {
    fn admit(request: RequestView, _outcome: Outcome) -> StoreDecision {
        let tag = request.fields.iter().find(|(pointer, _)| pointer == "/tag");
        match tag {
            Some((_, text)) => {
                let tags = vec![text.trim_matches('"').to_owned()];
                StoreDecision::Store(Storage { tags, ..long() })
            }
            None => StoreDecision::Store(short()),
        }
    }
}

impl Failures for Hooks {
    fn follow(_request: RequestView, failure: FailedRun) -> Aftermath {
        assert_eq!(failure.kind, FailureKind::Failed);
        let code = failure.code.unwrap_or_default();
        assert_ne!(code, "unforeseen");
        Aftermath { serve_stale: code != "uncovered", keep_ms: (code == "kept").then_some(DAY_MS) }
    }
}

impl Changes for Hooks {
    fn end(_collection: String, changes: Vec<Change>) -> Vec<String> {
        changes.into_iter().flat_map(ended).collect()
    }
}

fn ended(change: Change) -> Vec<String> {
    match change {
        Change::DocumentPut(id) | Change::DocumentDeleted(id) => {
            assert_ne!(id, "trap");
            match id.as_str() {
                "too-many" => (0..=1_000).map(|number| number.to_string()).collect(),
                _ => vec![id],
            }
        }
        _ => Vec::new(),
    }
}

weir_sdk::policy!(Hooks: Planning + Admission + Failures + Changes);
