//! Attacks on the host from inside a policy. The body of a request names one, `{"attack": "…"}`, and
//! has a number, so that there are many keys. The setting `attack` names one for the plan. The names
//! are `grow-in-plan`, `grow-in-key` and `grow-in-admit`, which take memory without end, and `tags`,
//! which stores an answer under as many tags as it may have, all of them new.

use weir_sdk::policy::{
    Admission, KeyDecision, KeyPlan, Keying, Outcome, Planning, RequestView, Settings, Source,
    Storage, StoreDecision,
};

/// As many as one answer may have.
const TAGS: usize = 64;

struct Attacks;

impl Planning for Attacks {
    fn plan(settings: Settings) -> Result<KeyPlan, String> {
        if settings.iter().any(|(_, attack)| attack == "grow-in-plan") {
            grow();
        }
        Ok(KeyPlan::new(Storage::memory(300_000))
            .part(Source::JsonField("/attack".into()), [])
            .part(Source::JsonField("/number".into()), []))
    }
}

impl Keying for Attacks {
    fn key(request: RequestView) -> KeyDecision {
        if is(&request, "grow-in-key") {
            grow();
        }
        KeyDecision::Lookup(Vec::new())
    }
}

impl Admission for Attacks {
    fn admit(request: RequestView, _outcome: Outcome) -> StoreDecision {
        if is(&request, "grow-in-admit") {
            grow();
        }
        let number = field(&request, "/number").unwrap_or_default();
        let tags = match is(&request, "tags") {
            true => (0..TAGS).map(|tag| format!("{number}-{tag}")).collect(),
            false => Vec::new(),
        };
        StoreDecision::Store(Storage { tags, ..Storage::memory(300_000) })
    }
}

/// The JSON text of a field.
fn field<'a>(request: &'a RequestView, pointer: &str) -> Option<&'a str> {
    let (_, text) = request.fields.iter().find(|(known, _)| known == pointer)?;
    Some(text)
}

fn is(request: &RequestView, attack: &str) -> bool {
    field(request, "/attack").is_some_and(|text| text.trim_matches('"') == attack)
}

/// Goes on even when no more is given.
fn grow() {
    loop {
        std::hint::black_box(core::arch::wasm32::memory_grow::<0>(1));
    }
}

weir_sdk::policy!(Attacks: Planning + Keying + Admission);
