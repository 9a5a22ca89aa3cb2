//! Tests that a manifest is read as it is documented, and that all faults are said, each in its place.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::plugin::declared::Type;
use crate::settings::Setting;

const PIPELINE: &str = "name = 'a'\nversion = '1'\nwit = '0.2.0'\nrole = 'pipeline'\n";

/// The reference for authors.
const REFERENCE: &str = include_str!("../../../../../docs/plugin-toml.md");

fn parse(rest: &str) -> Result<Manifest, ManifestErrors> {
    Manifest::parse(&format!("{PIPELINE}{rest}"))
}

/// The faults of a manifest, without those of the first four lines.
fn faults(rest: &str) -> Vec<String> {
    let errors = parse(rest).err().unwrap_or_else(|| panic!("{rest} is accepted"));
    errors.faults.iter().map(ToString::to_string).collect()
}

/// Asserts that a manifest has one fault, and that it begins like this.
fn refused(rest: &str, expected: &str) {
    let faults = faults(rest);
    assert_eq!(faults.len(), 1, "{rest}: {faults:?}");
    assert!(faults[0].starts_with(expected), "{rest}: {faults:?}");
}

/// The first block of TOML in a document.
fn block_of(document: &str) -> &str {
    let (_, block) = document.split_once("```toml\n").unwrap();
    block.split_once("```").unwrap().0
}

#[test]
fn the_example_of_the_reference_is_read() {
    let manifest = Manifest::parse(block_of(REFERENCE)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(manifest.name.as_str(), "handbook-search");
    assert_eq!((manifest.role, manifest.version.as_str()), (Role::Pipeline, "1.2.0"));
    assert_eq!(manifest.wit, WIT_VERSION);
    assert!(manifest.description.is_some());
    assert!(manifest.grants.embedding.is_some() && manifest.grants.settings);
    let limits = Limits {
        deadline_ms: Some(5_000),
        max_memory_bytes: Some(33_554_432),
        size: Some(Size::Small),
    };
    assert_eq!(manifest.limits, limits);
    let limit = &manifest.settings["limit"];
    assert_eq!(limit.of, Type::Integer { minimum: Some(1), maximum: Some(100) });
    assert_eq!(limit.default, Some(Setting("10".to_owned())));
    assert_eq!(manifest.settings["collection"].default, None);
    let [sample, as_text] = manifest.samples.as_slice() else { panic!("{:?}", manifest.samples) };
    assert_eq!(sample.body.text(), r#"{"query":"holidays"}"#);
    assert_eq!(as_text.body.text(), r#"{"filter":null,"query":"holidays"}"#);
    assert_eq!(as_text.query, "explain=1");
    assert_eq!(as_text.headers["accept-language"], "en");
    let [case] = manifest.cases.as_slice() else { panic!("{:?}", manifest.cases) };
    assert_eq!(case.name, "an empty query is refused");
    assert_eq!(case.expect.status, Some(400));
    assert_eq!(case.expect.body, Some(serde_json::json!({ "code": "empty-query" })));
    assert_eq!(case.expect.headers["content-type"], "application/problem+json");
}

#[test]
fn the_reference_names_every_key() {
    let keys = KEYS.into_iter().chain(["deadline_ms", "max_memory_bytes", "size"]);
    let keys = keys.chain(["type", "default", "minimum", "maximum", "values", "optional"]);
    for key in keys.chain(["body", "text", "query", "headers", "expect", "status"]) {
        assert!(REFERENCE.contains(&format!("| `{key}` |")), "docs/plugin-toml.md lacks {key}");
    }
}

#[test]
fn the_plugins_of_this_repository_have_one() {
    for (name, text) in [
        ("search", include_str!("../../../../../plugins/search/plugin.toml")),
        ("echo", include_str!("../../../../../plugins/echo/plugin.toml")),
        ("policy-default", include_str!("../../../../../plugins/policy-default/plugin.toml")),
    ] {
        let manifest = Manifest::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(manifest.name.as_str(), name);
    }
}

#[test]
fn the_least_manifest_asks_for_nothing() {
    let manifest = parse("").unwrap();
    assert_eq!((manifest.grants, manifest.limits), Default::default());
    assert!(manifest.settings.is_empty() && manifest.samples.is_empty());
}

#[test]
fn what_must_be_there_is_named_together() {
    let errors = Manifest::parse("").unwrap_err();
    assert_eq!(
        errors.to_string(),
        "the manifest is not valid:\n  plugin.toml: name: is missing\n  plugin.toml: version: is \
         missing\n  plugin.toml: role: is missing\n  plugin.toml: wit: is missing"
    );
}

#[test]
fn faults_in_several_parts_are_all_said_in_order() {
    let text = "name = 'A'\nversion = ''\nrole = 'plugin'\nwit = '0.1.0'\nlimit = {}\n\
                description = 7\n[grants]\nteleport = true\n[limits]\ndeadline_ms = 0\n\
                [settings.x]\ntype = 'integer'\ndefault = 'a'\ndescription = ''\n\
                [[samples]]\ntext = '{'\n[[samples]]\nbody = 1\nquery = '#'\n\
                [[cases]]\nname = ''\nbody = 1\nexpect = { status = 99 }\n";
    let errors = Manifest::parse(text).unwrap_err();
    let faults: Vec<_> = errors.faults.iter().map(ToString::to_string).collect();
    let expected = [
        "1: name: a name is 1 to 64 characters",
        "2: version: must be 1 to 64 characters on one line",
        "3: role: unknown variant `plugin`, expected `pipeline` or `policy`",
        "4: wit: is '0.1.0', but this host speaks 0.2.0: rebuild the plugin for 0.2.0",
        "5: limit: unknown key 'limit', did you mean 'limits'? (known here: name, version,",
        "6: description: invalid type: integer `7`, expected a string",
        "8: grants.teleport: unknown key 'teleport'",
        "10: limits.deadline_ms: must be 1 to 3600000, but is 0",
        "13: settings.x.default: must be an integer, but is of type string",
        "14: settings.x.description: must be 1 to 1024 characters, but has 0",
        "16: samples[0].text: the JSON is invalid at byte 1",
        "19: samples[1].query: must be a query without '?'",
        "21: cases[0].name: must be 1 to 128 characters on one line",
        "23: cases[0].expect.status: must be 200 to 599, but is 99",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
    }
}

#[test]
fn a_fault_is_said_with_its_key_and_what_was_meant() {
    for (rest, expected) in [
        ("[name]", "5"),
        ("x", "5"),
        ("grants = ['weir:observe/settings']", "5: grants: a list of interfaces is the old form"),
        ("grants.loging = true", "5: grants.loging: unknown key 'loging', did you mean 'logging'?"),
        ("grants.collections.read = ['a*b']", "5: grants.collections.read: 'a*b' is not a pattern"),
        ("limits.size = 'huge'", "5: limits.size: unknown variant `huge`"),
        ("limits.max_memory_bytes = 1", "5: limits.max_memory_bytes: must be 65536 to 4294967296"),
        ("limits.deadline = 1", "5: limits.deadline: unknown key 'deadline', did you mean 'dea"),
        ("settings = 1", "5: settings: must be a table"),
        ("settings.x = 1", "5: settings.x: invalid type"),
        ("settings.X = { type = 'string', description = 'd' }", "5: settings.X: a name is 1 to 64"),
        ("[settings.x]\ntype = 'string'", "5: settings.x: missing field `description`"),
        ("[settings.x]\ndescription = 'd'\ntype = 'text'", "7: settings.x.type: unknown variant"),
        (
            "[settings.x]\ntype = 'string'\ndescription = 'd'\nmin = 1",
            "8: settings.x.min: unknown key 'min', did you mean 'minimum'?",
        ),
        ("description = \"\\u001b[2J\"", "5: description: must not have control characters"),
        ("samples = 1", "5: samples: must be a list of tables"),
        ("[[samples]]\n", "5: samples[0]: has no body"),
        ("[[samples]]\nbody = 1\ntext = '1'", "7: samples[0].text: is a second body"),
        ("[[samples]]\nbody = 2026-11-28", "6: samples[0].body: has a date"),
        ("[[samples]]\nbody = { a = [nan] }", "6: samples[0].body: has a number that JSON"),
        ("[[samples]]\nbody = 1\nquery = '?a'", "7: samples[0].query: must be a query without"),
        ("[[samples]]\nbody = 1\nquery = 'a b'", "7: samples[0].query: must be a query without"),
        (
            "[[samples]]\nbody = 1\nheaders = { 'a b' = '' }",
            "7: samples[0].headers.a b: is not the",
        ),
        ("[[samples]]\nbody = 1\nheaders = { a = \"\\n\" }", "7: samples[0].headers.a: is not the"),
        ("[[samples]]\nbody = 1\nheaders = { a = '', A = '' }", "7: samples[0].headers.a: is the"),
        ("[[samples]]\nbody = 1\n[[samples]]\nbdy = 1", "8: samples[1].bdy: unknown key 'bdy'"),
        ("[[cases]]\nname = 'a'\nbody = 1", "5: cases[0]: missing field `expect`"),
        ("[[cases]]\nname = 'a'\nbody = 1\nexpect = {}", "8: cases[0].expect: expects nothing"),
        (
            "[[cases]]\nname = 'a'\nbody = 1\nexpect.status = 200\n\
             [[cases]]\nname = 'a'\nbody = 1\nexpect.status = 200",
            "10: cases[1].name: another case is called 'a'",
        ),
    ] {
        refused(rest, expected);
    }
}

#[test]
fn a_policy_has_neither_grants_nor_limits_nor_requests() {
    let text = "name = 'a'\nversion = '1'\nwit = '0.2.0'\nrole = 'policy'\n[grants]\n[limits]\n\
                [[samples]]\nbody = 1\n[[cases]]\nname = 'a'\nbody = 1\nexpect.status = 200\n\
                [settings.x]\ntype = 'string'\ndescription = 'd'\n";
    let faults = Manifest::parse(text).unwrap_err().faults;
    let keys: Vec<_> = faults.iter().map(|fault| (fault.line, fault.key.as_deref())).collect();
    let expected = [(5, "grants"), (6, "limits"), (7, "samples"), (9, "cases")];
    assert_eq!(keys, expected.map(|(line, key)| (Some(line), Some(key))));
    assert!(
        faults.iter().all(|fault| fault.message == "is not for policies: only pipelines have it")
    );
}

#[test]
fn there_is_a_bound_on_everything() {
    let settings: String = (0..65)
        .map(|number| format!("[settings.x{number}]\ntype = 'string'\ndescription = 'd'\n"))
        .collect();
    let cases: String = (0..257)
        .map(|number| format!("[[cases]]\nname = '{number}'\nbody = 1\nexpect.status = 200\n"))
        .collect();
    let headers: String = (0..33).map(|number| format!("x{number} = 'a', ")).collect();
    let sample = |rest: &str| format!("[[samples]]\nbody = 1\n{rest}");
    for (rest, expected) in [
        (&settings, "5: settings: there are 65, but at most 64 are read"),
        (&sample("").repeat(17), "5: samples: there are 17, but at most 16 are read"),
        (&cases, "5: cases: there are 257, but at most 256 are read"),
        (
            &format!("grants.collections.write = [{}]", "'a', ".repeat(65)),
            "5: grants.collections.write: has 65 patterns, but at most 64 are read",
        ),
        (&sample(&format!("headers = {{ {headers} }}")), "7: samples[0].headers: there are 33"),
        (&sample(&format!("query = '{}'", "a".repeat(4_097))), "7: samples[0].query: must have at"),
        (&format!("description = '{}'", "a".repeat(1_025)), "5: description: must be 1 to 1024"),
        (&format!("#{}", "a".repeat(MAX_MANIFEST_BYTES)), " the manifest has 2622"),
        (&format!("[[samples]]\nbody = {}1{}", "[".repeat(15), "]".repeat(15)), "6: a manifest is"),
        (&format!("{} = 1", vec!["a"; 18].join(".")), "5: a manifest is nested at most 16 deep"),
    ] {
        refused(rest, expected);
    }
    assert!(parse(&sample("").repeat(16)).is_ok());
    assert!(parse(&format!("[[samples]]\nbody = {}1{}", "[".repeat(13), "]".repeat(13))).is_ok());
    // Faults beyond those that are listed are counted.
    let faulty: String = (0..200).map(|number| format!("x{number} = 1\n")).collect();
    let errors = parse(&faulty).unwrap_err();
    assert_eq!((errors.faults.len(), errors.more), (128, 72));
    assert!(errors.to_string().ends_with("\n  and 72 more"));
}

/// Keys of 79 parts in tables within tables: 6,000 of them in 10 KiB, on a stack of 1 MiB. Without optimisation,
/// frames are several times as large.
#[test]
fn a_nest_of_tables_overflows_no_stack() {
    const STACK_BYTES: usize = if cfg!(debug_assertions) { 8 << 20 } else { 1 << 20 };
    let keys = vec!["a"; 79].join(".");
    // 16 pairs of brackets are parsed, and what is in them is refused.
    for brackets in [0, 1, 16, 17, 79] {
        let mut nest = "1".to_owned();
        for _ in 0..brackets {
            nest = format!("{{ {keys} = {nest} }}");
        }
        let text = format!("[{keys}]\n{keys} = {nest}");
        let parsing = std::thread::Builder::new().stack_size(STACK_BYTES);
        let parsed = parsing.spawn(move || Manifest::parse(&text)).unwrap().join().unwrap();
        let message = parsed.unwrap_err().to_string();
        assert!(message.contains("nested at most 16 deep"), "{message}");
    }
}

#[test]
fn a_long_fault_is_shortened() {
    let long = "a".repeat(100_000);
    for rest in [
        format!("{long} = 1"),
        format!("settings.x = {{ type = '{long}', description = 'd' }}"),
        format!("settings.{long} = 1"),
        format!("limits = {{ {long} = 1 }}"),
        format!("grants.collections.read = ['{long}']"),
        format!("name = '{long}'"),
    ] {
        let message = parse(&rest).unwrap_err().to_string();
        assert!(message.len() < 5_000, "{} bytes", message.len());
    }
}

/// A manifest with a fault here and there, to be cut and mixed.
const FULL: &str = "name = 'a'\nversion = '1'\nrole = 'pipeline'\nwit = '0.2.0'\n\
    [grants]\nembedding = {}\ncollections = { read = ['a-*'], write = [] }\n[limits]\nsize = 'small'\n\
    [settings.x]\ntype = 'number'\nminimum = 0.5\ndefault = 1\ndescription = \"d\"\n\
    [[samples]]\nbody = { a = [1, { b = true }] }\nheaders = { a = 'b' }\n\
    [[cases]]\nname = 'c'\ntext = '''{\"a\": null}'''\nexpect = { status = 200, body = { a = 1.5 } }\n";

proptest! {
    #[test]
    fn any_text_is_answered(text in "[\\PC\n]{0,200}") {
        let _ = Manifest::parse(&text);
    }

    #[test]
    fn a_manifest_with_pieces_exchanged_is_answered(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        let mut text: Vec<char> = FULL.chars().collect();
        for (from, to) in cuts {
            let (from, to) = (from.index(text.len()), to.index(text.len()));
            text.swap(from, to);
            text.rotate_left(from.min(to) / 2);
        }
        if let Err(errors) = Manifest::parse(&text.into_iter().collect::<String>()) {
            prop_assert!(!errors.faults.is_empty(), "a refusal has a reason");
        }
    }

    #[test]
    fn a_manifest_without_one_line_is_answered(cut in any::<prop::sample::Index>()) {
        let lines: Vec<_> = FULL.lines().collect();
        let cut = cut.index(lines.len());
        let kept = lines.iter().enumerate().filter(|(line, _)| *line != cut).map(|(_, line)| *line);
        if let Err(errors) = Manifest::parse(&kept.collect::<Vec<_>>().join("\n")) {
            prop_assert!(!errors.faults.is_empty(), "a refusal has a reason");
        }
    }
}

#[test]
fn the_manifest_that_the_properties_change_is_valid() {
    Manifest::parse(FULL).unwrap();
}
