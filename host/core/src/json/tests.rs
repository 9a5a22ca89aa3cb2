//! Tables of cases, and properties that compare the reader with serde_json.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::Value;

use super::{CanonicalJson, JsonError, JsonLimits, canonicalize, text::plain_run};

fn read(text: &str) -> Result<CanonicalJson, JsonError> {
    canonicalize(text, JsonLimits::default())
}

fn canonical(text: &str) -> String {
    let canonical = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    String::from_utf8(canonical.text().to_vec()).unwrap()
}

#[test]
fn one_text_for_every_spelling() {
    for (text, expected) in [
        ("null", "null"),
        (" \t\r\n[ true , false ]\n", "[true,false]"),
        ("{}", "{}"),
        ("{ }", "{}"),
        ("[ ]", "[]"),
        (r#"{"query":"what is it","limit":10}"#, r#"{"limit":10,"query":"what is it"}"#),
        (
            r#"{"b":{"d":1,"c":[{"z":0,"y":0}]},"a":2}"#,
            r#"{"a":2,"b":{"c":[{"y":0,"z":0}],"d":1}}"#,
        ),
        (r#"{"ab":1,"a":2,"":3}"#, r#"{"":3,"a":2,"ab":1}"#),
        // Names sort by their unescaped bytes: a newline comes before the letter, but a backslash
        // would come after it.
        (r#"{"A":1,"\n":2}"#, r#"{"\n":2,"A":1}"#),
        (r#"{"\u0061":1,"\u0041":2}"#, r#"{"A":2,"a":1}"#),
        (r#""\/\u002f\u00e9\u0022\u005C""#, r#""//é\"\\""#),
        (r#""\u0008\u000c\u000A\u000d\u0009""#, r#""\b\f\n\r\t""#),
        (r#""\u001F\u007f""#, "\"\\u001f\u{7f}\""),
        (r#""\ud83E\uDD80""#, "\"🦀\""),
        ("[1,1.0,1e0,1E0,1e+0,-0,0]", "[1,1.0,1e0,1E0,1e+0,-0,0]"),
        ("9007199254740993", "9007199254740993"),
        ("1e99999", "1e99999"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn refusals_name_what_is_wrong_and_where() {
    for (text, code, at) in [
        ("", "invalid-json", 0),
        ("  ", "invalid-json", 2),
        ("{", "invalid-json", 1),
        ("[1", "invalid-json", 2),
        ("[1,]", "invalid-json", 3),
        (r#"{"a":1,}"#, "invalid-json", 7),
        (r#"{"a" 1}"#, "invalid-json", 5),
        (r#"{"a":}"#, "invalid-json", 5),
        ("{a:1}", "invalid-json", 1),
        ("[1}", "invalid-json", 2),
        ("1 2", "invalid-json", 2),
        ("nul", "invalid-json", 0),
        ("nulll", "invalid-json", 4),
        ("NaN", "invalid-json", 0),
        ("'a'", "invalid-json", 0),
        ("// no\n1", "invalid-json", 0),
        ("\u{feff}1", "invalid-json", 0),
        ("01", "invalid-json", 1),
        ("-", "invalid-json", 1),
        ("+1", "invalid-json", 0),
        ("1.", "invalid-json", 2),
        (".5", "invalid-json", 0),
        ("1e", "invalid-json", 2),
        ("\"a", "invalid-json", 2),
        ("\"a\\", "invalid-json", 2),
        ("\"a\n\"", "invalid-json", 2),
        (r#""\x""#, "invalid-json", 1),
        (r#""\u12""#, "invalid-json", 1),
        (r#""\u+123""#, "invalid-json", 1),
        (r#""\ud800""#, "invalid-json", 1),
        (r#""\udc00""#, "invalid-json", 1),
        (r#""\ud800\ud800""#, "invalid-json", 1),
        (r#""\ud800x""#, "invalid-json", 1),
        (r#""\u0000""#, "nul-in-text", 1),
        ("\"a\0\"", "nul-in-text", 2),
        (r#"{"\u0000":1}"#, "nul-in-text", 2),
        (r#"{"a":1,"a":1}"#, "duplicate-key", 7),
        (r#"{"a":1,"b":2,"\u0061":3}"#, "duplicate-key", 13),
        (r#"[{"b":{"x":1,"x":2}}]"#, "duplicate-key", 13),
    ] {
        let error = read(text).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert_eq!((error.code(), error.offset_bytes()), (code, at), "{text}: {error}");
        assert!(!error.to_string().is_empty());
    }
    let invalid = canonicalize(b"\"a\xff\"", JsonLimits::default()).unwrap_err();
    assert_eq!(invalid, JsonError::InvalidUtf8 { at: 2 });
    assert_eq!(
        read(r#"{"limit":1,"limit":2}"#).unwrap_err().to_string(),
        r#"the JSON names the member "limit" twice in one object, again at byte 11"#
    );
}

#[test]
fn limits_are_exact() {
    let limits = JsonLimits { max_bytes: 8, max_depth: 2 };
    let read = |text: &str| canonicalize(text, limits).map_err(|error| error.code());
    assert!(read("\"123456\"").is_ok());
    assert_eq!(read("\"1234567\""), Err("too-large"));
    assert!(read("[[1],[]]").is_ok());
    assert_eq!(read("[[[]]]"), Err("too-deep"));
    assert_eq!(read("[{\"\":{"), Err("too-deep"));

    let no_limit = JsonLimits { max_bytes: usize::MAX, max_depth: usize::MAX };
    let deep = "[".repeat(100_000);
    assert_eq!(canonicalize(&deep, no_limit).unwrap_err().code(), "too-deep");
}

#[test]
fn pointers() {
    let json =
        read(r#"{"a":{"b":[10,{"c":"x\"]}"},[],"y"]},"":1,"m~n":2,"a/b":3,"\n":4,"e":[],"o":{}}"#)
            .unwrap();
    for (pointer, expected) in [
        ("/a/b/0", Some("10")),
        ("/a/b/1", Some(r#"{"c":"x\"]}"}"#)),
        ("/a/b/1/c", Some(r#""x\"]}""#)),
        ("/a/b/2", Some("[]")),
        ("/a/b/3", Some("\"y\"")),
        ("/a/b/4", None),
        ("/a/b/-", None),
        ("/a/b/01", None),
        ("/a/b/+1", None),
        ("/a/b/", None),
        ("/a/b/99999999999999999999", None),
        ("/a/b/0/x", None),
        ("/e/0", None),
        ("/o/x", None),
        ("/", Some("1")),
        ("/m~0n", Some("2")),
        ("/a~1b", Some("3")),
        ("/m~n", None),
        ("/m~", None),
        ("/\n", Some("4")),
        ("/zz", None),
        ("a", None),
    ] {
        let found = json.pointer(pointer).map(|text| std::str::from_utf8(text).unwrap());
        assert_eq!(found, expected, "{pointer}");
    }
    assert_eq!(json.pointer("").unwrap(), json.text());
    assert_eq!(read("7").unwrap().pointer("").unwrap(), b"7");
    assert_eq!(read("7").unwrap().pointer("/0"), None);
}

/// Any JSON value without U+0000, with names and strings that need escapes.
fn any_value() -> impl Strategy<Value = Value> {
    let string = || "([a-c\"\\\\/\n\u{1}\u{1f}é🦀]|[^\u{0}]){0,12}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        string().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((string(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes a value in another spelling: members in another order, whitespace, escapes.
fn respell(value: &Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    let space = |choice: Option<u8>| ["", " ", "\n\t", "\r "][usize::from(choice.unwrap() % 4)];
    out.push_str(space(choices.next()));
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|member| (choices.next().unwrap(), member)).collect();
            members.sort_by_key(|(order, _)| *order);
            out.push('{');
            for (index, (_, (name, value))) in members.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                respell(&Value::from(name.as_str()), choices, out);
                out.push(':');
                respell(value, choices, out);
            }
            out.push_str(space(choices.next()));
            out.push('}');
        }
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                respell(element, choices, out);
            }
            out.push_str(space(choices.next()));
            out.push(']');
        }
        Value::String(text) => {
            out.push('"');
            for character in text.chars() {
                match choices.next().unwrap() % 3 {
                    0 => character
                        .encode_utf16(&mut [0; 2])
                        .iter()
                        .for_each(|unit| out.push_str(&format!("\\u{unit:04X}"))),
                    _ => {
                        let quoted = serde_json::to_string(&character).unwrap();
                        out.push_str(&quoted[1..quoted.len() - 1]);
                    }
                }
            }
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(space(choices.next()));
}

proptest! {
    #[test]
    fn order_space_and_escapes_do_not_matter(
        value in any_value(),
        choices in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let plain = value.to_string();
        let mut respelled = String::new();
        respell(&value, &mut choices.iter().copied().cycle(), &mut respelled);
        let text = canonical(&plain);
        prop_assert_eq!(canonical(&respelled), text.as_str());
        prop_assert_eq!(canonical(&text), text.as_str());
        prop_assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            serde_json::from_str::<Value>(&plain).unwrap()
        );
    }

    #[test]
    fn different_values_stay_apart(left in any_value(), right in any_value()) {
        let (left_text, right_text) = (left.to_string(), right.to_string());
        prop_assert_eq!(
            canonical(&left_text) == canonical(&right_text),
            left == right && left_text == right_text
        );
    }

    #[test]
    fn numbers_keep_their_spelling(
        number in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,5})?",
    ) {
        prop_assert_eq!(canonical(&format!(" [ {number} ] ")), format!("[{number}]"));
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = canonicalize(bytes, JsonLimits::default());
    }

    /// Texts of JSON's own characters, so that many are valid or nearly so.
    #[test]
    fn what_is_accepted_is_json(
        text in r#"([{}\[\],:]|"[a-c]?"|"\\(u[0-9a-f]{4}|[bnx"\\])"|-|[0-9]|[.eE+ ]|true|null){0,24}"#,
    ) {
        let ours = read(&text);
        let theirs = serde_json::from_str::<Value>(&text);
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                let again: Value = serde_json::from_slice(ours.text()).unwrap();
                prop_assert_eq!(again, theirs);
            }
            (Err(error), Ok(_)) => {
                prop_assert!(matches!(error.code(), "duplicate-key" | "nul-in-text"), "{}", error);
            }
            (Ok(_), Err(error)) => {
                prop_assert!(error.to_string().contains("number out of range"), "{}", error);
            }
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn pointers_agree_with_serde_json(value in any_value(), steps in prop::collection::vec(any::<prop::sample::Index>(), 0..5)) {
        let json = read(&value.to_string()).unwrap();
        let (mut pointer, mut expected) = (String::new(), &value);
        for step in steps {
            let (token, next) = match expected {
                Value::Array(elements) if !elements.is_empty() => {
                    let index = step.index(elements.len());
                    (index.to_string(), &elements[index])
                }
                Value::Object(members) if !members.is_empty() => {
                    let (name, next) = members.iter().nth(step.index(members.len())).unwrap();
                    (name.replace('~', "~0").replace('/', "~1"), next)
                }
                _ => break,
            };
            pointer = format!("{pointer}/{token}");
            expected = next;
        }
        let found = json.pointer(&pointer).map(<[u8]>::to_vec);
        prop_assert_eq!(found, Some(canonical(&expected.to_string()).into_bytes()));
        let beyond = format!("{pointer}/no such name");
        prop_assert_eq!(json.pointer(&beyond), None);
    }

    #[test]
    fn plain_runs_end_at_the_first_special_byte(bytes in prop::collection::vec(
        prop_oneof![8 => b'a'..=b'z', 2 => 0x80..=0xff_u8, 1 => any::<u8>()], 0..40,
    )) {
        let special = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        let expected = bytes.iter().position(special).unwrap_or(bytes.len());
        prop_assert_eq!(plain_run(&bytes), expected);
    }
}
