//! Tests that a deployment gets what its manifest asks for, and never more than the operator allows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::capability::grants::Access;

const MANIFEST: &str = "name = 'a'\nversion = '1'\nwit = '0.2.0'\nrole = 'pipeline'\n";

fn manifest(rest: &str) -> Manifest {
    Manifest::parse(&format!("{MANIFEST}{rest}")).unwrap_or_else(|error| panic!("{rest}: {error}"))
}

fn operator(rest: &str) -> Pipeline {
    toml::from_str(&format!("component = 'x'\n{rest}")).unwrap()
}

/// 64 MiB for small guests, and 256 MiB for large ones, of which there are some.
fn engine() -> Engine {
    let mut engine = Engine::default();
    engine.large.max_concurrent_guests = 1;
    engine
}

fn name() -> Name {
    Name::new("search").unwrap()
}

/// What a plugin that asks for `asked` gets where the operator allows `allowed`, or the faults.
fn resolved(asked: &str, allowed: &str) -> Result<Resolved, Vec<String>> {
    let settings = Settings::default();
    resolve(&manifest(asked), &name(), &operator(allowed), &engine(), &settings)
        .map_err(|error| error.faults)
}

#[test]
fn what_is_not_asked_for_is_not_given() {
    let allowed = "grants = { embedding = {}, logging = true, collections.read = ['*'] }";
    let given = resolved("grants.collections.read = ['notes-1']", allowed).unwrap();
    let expected = manifest("grants.collections.read = ['notes-1']").grants;
    assert_eq!(given.grants, expected);
    assert_eq!(
        given.grants.access("weir:embedding/embedder"),
        Access::Denied { line: "grants.embedding = {}" }
    );
    assert_eq!(resolved("", allowed).unwrap().grants, Grants::default());
}

#[test]
fn everything_that_is_not_allowed_is_named_with_the_line_that_allows_it() {
    let asked = "[grants]\nlogging = true\ncollections = { read = ['a', 'b'], write = ['a'] }\n\
                 [limits]\ndeadline_ms = 20000\nsize = 'large'\nmax_memory_bytes = 100000000\n\
                 [settings.x]\ntype = 'integer'\ndescription = 'd'";
    let allowed = "grants.collections.read = ['a']\nmax_memory_bytes = 65536";
    assert_eq!(
        resolved(asked, allowed).unwrap_err(),
        [
            "grants.logging: it asks for this grant, which is not allowed: write \
             `grants.logging = true` in [pipelines.search] to allow it",
            "grants.collections: it asks for this grant with read = [\"b\"] and write = [\"a\"], \
             which is not allowed: write \
             `grants.collections = { read = [\"a\", \"b\"], write = [\"a\"] }` in \
             [pipelines.search] to allow it",
            "limits.size: it asks for large guests, and has small ones: set `size = \"large\"` in \
             [pipelines.search] to allow it",
            "limits.deadline_ms: it asks for 20000, and has 10000: set `deadline_ms = 20000` in \
             [pipelines.search] to allow it",
            "limits.max_memory_bytes: it asks for 100000000, and has 65536: set \
             `max_memory_bytes = 100000000` in [pipelines.search] to allow it",
            "settings.x: must be set, to an integer: it has no default",
        ]
    );
    // With the lines that the faults show, it is allowed, but for the setting.
    let lines = "grants.logging = true\n\
                 grants.collections = { read = [\"a\", \"b\"], write = [\"a\"] }\nsize = \"large\"\n\
                 deadline_ms = 20000\nmax_memory_bytes = 100000000";
    assert_eq!(resolved(asked, lines).unwrap_err().len(), 1);
}

#[test]
fn limits_are_the_smaller_of_what_is_asked_for_and_what_is_allowed() {
    const MIB: usize = 1 << 20;
    let (small, large) = (Size::Small, Size::Large);
    for (asked, allowed, expected) in [
        ("", "", (10_000, 64 * MIB, small)),
        ("", "deadline_ms = 20000\nmax_memory_bytes = 65536", (20_000, 65_536, small)),
        ("limits.deadline_ms = 5", "deadline_ms = 5", (5, 64 * MIB, small)),
        ("limits.deadline_ms = 5", "", (5, 64 * MIB, small)),
        ("limits.max_memory_bytes = 65536", "", (10_000, 65_536, small)),
        ("", "size = 'large'", (10_000, 256 * MIB, large)),
        ("limits.size = 'large'", "size = 'large'", (10_000, 256 * MIB, large)),
        // Small guests where large ones are allowed: no more memory than small ones have.
        ("limits.size = 'small'", "size = 'large'", (10_000, 64 * MIB, small)),
        (
            "limits.size = 'small'",
            "size = 'large'\nmax_memory_bytes = 134217728",
            (10_000, 64 * MIB, small),
        ),
        (
            "limits.size = 'small'",
            "size = 'large'\nmax_memory_bytes = 65536",
            (10_000, 65_536, small),
        ),
    ] {
        let Resolved { deadline_ms, max_memory_bytes, size, .. } =
            resolved(asked, allowed).unwrap_or_else(|faults| panic!("{asked}: {faults:?}"));
        assert_eq!((deadline_ms, max_memory_bytes, size), expected, "{asked} in {allowed}");
    }
}

#[test]
fn a_limit_of_the_engine_is_named_too() {
    let too_much = "limits.max_memory_bytes = 100000000";
    let faults = resolved(too_much, "").unwrap_err();
    assert!(faults[0].contains(", and engine.max_memory_bytes to as much,"), "{faults:?}");
    let faults = resolved("limits.max_memory_bytes = 300000000", "size = 'large'").unwrap_err();
    assert!(faults[0].contains(", and engine.large.max_memory_bytes to as much,"), "{faults:?}");
    let mut none_large = engine();
    none_large.large.max_concurrent_guests = 0;
    let large = manifest("limits.size = 'large'");
    let settings = Settings::default();
    let error = resolve(&large, &name(), &operator(""), &none_large, &settings).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("a 1 cannot be deployed as 'search':\n  limits.size: "), "{text}");
    assert!(text.contains("engine.large.max_concurrent_guests to at least 1"), "{text}");
}

#[test]
fn a_policy_is_not_deployed_as_a_pipeline() {
    let policy = Manifest::parse(&MANIFEST.replace("pipeline", "policy")).unwrap();
    let settings = Settings::default();
    let error = resolve(&policy, &name(), &operator(""), &engine(), &settings).unwrap_err();
    assert_eq!(error.faults, ["role: it is a policy: deploy it as one"]);
}

#[test]
fn what_is_loaded_is_the_operators_but_for_what_is_narrowed() {
    let allowed = operator(
        "policy = 'p'\nweight = 7\nredirects = true\ngrants.settings = true\nsettings.old = 1",
    );
    let asked = "grants.settings = true\nlimits.deadline_ms = 5\n\
                 [settings.x]\ntype = 'integer'\ndefault = 3\ndescription = 'd'";
    let settings = Settings::default();
    let resolved = resolve(&manifest(asked), &name(), &allowed, &engine(), &settings).unwrap();
    let expected = operator(
        "policy = 'p'\nweight = 7\nredirects = true\ngrants.settings = true\nsettings.x = 3\n\
         deadline_ms = 5\nmax_memory_bytes = 67108864",
    );
    assert_eq!(resolved.narrowed(&allowed), expected);
}

/// The lines of grants, with few letters, so that scopes often overlap.
fn any_grants() -> impl Strategy<Value = String> {
    let scope = || {
        let pattern = "'([ab]{1,3}|[ab]{0,2}\\*)'";
        prop::collection::vec(pattern, 0..3).prop_map(|patterns| patterns.join(", "))
    };
    let switches = (any::<bool>(), any::<bool>(), any::<bool>());
    (switches, scope(), scope()).prop_map(|((embedding, logging, settings), read, write)| {
        let embedding = if embedding { "embedding = {}, " } else { "" };
        format!(
            "grants = {{ {embedding}logging = {logging}, settings = {settings}, \
             collections = {{ read = [{read}], write = [{write}] }} }}\n"
        )
    })
}

/// Lines of limits, the names of which are preceded by `table`.
fn any_limits(table: &'static str) -> impl Strategy<Value = String> {
    let deadline_ms = prop::option::of(1..30_000_u64);
    let memory = prop::option::of(65_536..400_000_000_usize);
    let size = prop::option::of("small|large");
    (deadline_ms, memory, size).prop_map(move |(deadline_ms, memory, size)| {
        let deadline_ms = deadline_ms.map(|ms| format!("{table}deadline_ms = {ms}\n"));
        let memory = memory.map(|bytes| format!("{table}max_memory_bytes = {bytes}\n"));
        let size = size.map(|size| format!("{table}size = '{size}'\n"));
        [deadline_ms, memory, size].into_iter().flatten().collect()
    })
}

/// Asserts that `given` opens and allows nothing that the operator does not.
fn assert_within(given: &Resolved, allowed: &Pipeline, names: &[Name]) {
    for interface in [
        "weir:embedding/embedder",
        "weir:embedding/plain-embedder",
        "weir:vector/collections",
        "weir:vector/plain-collections",
        "weir:documents/writer",
        "weir:documents/plain-writer",
        "weir:observe/logging",
        "weir:observe/settings",
    ] {
        if given.grants.access(interface) == Access::Granted {
            assert_eq!(allowed.grants.access(interface), Access::Granted, "{interface}");
        }
    }
    let scopes = |grants: &Grants| grants.collections.clone().unwrap_or_default();
    let (given_scopes, allowed_scopes) = (scopes(&given.grants), scopes(&allowed.grants));
    for name in names {
        assert!(!given_scopes.read.covers(name) || allowed_scopes.read.covers(name), "{name}");
        assert!(!given_scopes.write.covers(name) || allowed_scopes.write.covers(name), "{name}");
    }
    let engine = engine();
    assert!(given.deadline_ms <= allowed.deadline_ms.unwrap_or(engine.deadline_ms));
    let memory = allowed.max_memory_bytes.unwrap_or(engine.max_memory_bytes_of(allowed.size));
    assert!(given.max_memory_bytes <= memory);
    assert!(given.max_memory_bytes <= engine.max_memory_bytes_of(given.size));
    assert!(given.size == Size::Small || allowed.size == Size::Large);
}

proptest! {
    #[test]
    fn no_manifest_opens_more_than_the_operator_allows(
        asked in (any_grants(), any_limits("limits.")),
        allowed in (any_grants(), any_limits("")),
        names in prop::collection::vec("[ab]{1,4}", 16),
    ) {
        let names: Vec<_> = names.iter().map(|name| Name::new(name).unwrap()).collect();
        let [asked, allowed] = [asked, allowed].map(|(grants, limits)| format!("{grants}{limits}"));
        if let Ok(given) = resolved(&asked, &allowed) {
            assert_within(&given, &operator(&allowed), &names);
            prop_assert_eq!(given.grants, manifest(&asked).grants, "all of it, or a fault");
        }
    }

    #[test]
    fn what_the_operator_allows_may_be_asked_for(grants in any_grants()) {
        let given = resolved(&grants, &grants).unwrap();
        prop_assert_eq!(given.grants, operator(&grants).grants);
    }
}
