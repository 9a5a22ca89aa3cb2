//! Grants: what a plugin may access, and which interfaces it may therefore import.
//!
//! `[pipelines.NAME.grants]` is the operator's limit, also for whatever is deployed under that
//! name later. A capability whose resources have names has a scope of
//! [patterns](weir_core::pattern). The capability enforces the scope each time a guest names a
//! resource.

use serde::de::{self, SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use weir_core::pattern::Pattern;

use super::{collections, documents, embedding, logging, settings};

/// What a plugin may access. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Grants {
    /// Access to embedding models.
    pub embedding: Option<embedding::Grant>,
    /// Which collections it may search and change.
    pub collections: Option<collections::Grant>,
    /// Whether it may write to the host's log.
    pub logging: bool,
    /// Whether it may read the deployment's settings.
    pub settings: bool,
}

/// An interface that needs a grant, and its plain variant if it has one.
struct Granted {
    /// The names without the version. Only interfaces whose functions wait have a plain variant.
    interfaces: &'static [&'static str],
    /// The line of the configuration that grants it.
    line: &'static str,
    /// Whether the given grants allow it.
    opens: fn(&Grants) -> bool,
    /// Whether it can change something.
    writes: bool,
}

/// Every interface that needs a grant.
const GRANTED: [Granted; 5] = [
    Granted {
        interfaces: &embedding::INTERFACES,
        line: "grants.embedding = {}",
        opens: |grants| grants.embedding.is_some(),
        writes: false,
    },
    Granted {
        interfaces: &collections::INTERFACES,
        line: r#"grants.collections = { read = ["*"] }"#,
        opens: |grants| grants.collections.as_ref().is_some_and(|scope| !scope.read.is_empty()),
        writes: false,
    },
    Granted {
        interfaces: &documents::INTERFACES,
        line: r#"grants.collections = { write = ["*"] }"#,
        opens: |grants| grants.collections.as_ref().is_some_and(|scope| !scope.write.is_empty()),
        writes: true,
    },
    Granted {
        interfaces: &logging::INTERFACES,
        line: "grants.logging = true",
        opens: |grants| grants.logging,
        writes: false,
    },
    Granted {
        interfaces: &settings::INTERFACES,
        line: "grants.settings = true",
        opens: |grants| grants.settings,
        writes: false,
    },
];

/// Whether a plugin may import an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Granted,
    /// The configuration does not grant it.
    Denied {
        /// The line to add to the pipeline's table to grant it.
        line: &'static str,
    },
    /// No capability has an interface of that name.
    Unknown,
}

impl Grants {
    /// Whether a plugin with these grants may import `interface`, a name without a version.
    #[must_use]
    pub fn access(&self, interface: &str) -> Access {
        match find(interface) {
            None => Access::Unknown,
            Some(granted) if (granted.opens)(self) => Access::Granted,
            Some(granted) => Access::Denied { line: granted.line },
        }
    }

    /// What these grants have that `allowed` does not: one entry for each grant, none if all of it is
    /// within `allowed`.
    #[must_use]
    pub fn exceeding(&self, allowed: &Self) -> Vec<Exceeding> {
        // Naming all fields: a new grant cannot be forgotten here.
        let Self { embedding, collections, logging, settings } = self;
        let switches = [
            (
                "embedding",
                embedding.is_some(),
                allowed.embedding.is_some(),
                embedding::INTERFACES[0],
            ),
            ("logging", *logging, allowed.logging, logging::INTERFACES[0]),
            ("settings", *settings, allowed.settings, settings::INTERFACES[0]),
        ];
        let denied = switches.into_iter().filter(|(_, asked, allowed, _)| *asked && !allowed);
        let denied = denied.map(|(name, .., interface)| Exceeding {
            key: format!("grants.{name}"),
            what: None,
            line: find(interface).map_or("", |granted| granted.line).to_owned(),
        });
        let allowed = allowed.collections.clone().unwrap_or_default();
        denied
            .chain(collections.as_ref().and_then(|asked| exceeding_collections(asked, &allowed)))
            .collect()
    }

    /// A text that differs for different grants, for keys: grants can change an answer.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A grant that is asked for and not allowed, or not with that scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeding {
    /// Which grant: `grants.collections`.
    pub key: String,
    /// What is missing of its scope: `read = ["notes-*"]`. `None` if it has no scope.
    pub what: Option<String>,
    /// The line of a pipeline's table that allows it, and what is allowed already.
    pub line: String,
}

fn exceeding_collections(
    asked: &collections::Grant,
    allowed: &collections::Grant,
) -> Option<Exceeding> {
    let scopes = [("read", &asked.read, &allowed.read), ("write", &asked.write, &allowed.write)];
    let list = |patterns: &[&Pattern]| {
        let quoted: Vec<_> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
        quoted.join(", ")
    };
    let (mut missing, mut all) = (Vec::new(), Vec::new());
    for (key, asked, allowed) in scopes {
        let exceeding: Vec<_> = asked.exceeding(allowed).collect();
        let together: Vec<_> = allowed.patterns().iter().chain(exceeding.iter().copied()).collect();
        if !exceeding.is_empty() {
            missing.push(format!("{key} = [{}]", list(&exceeding)));
        }
        if !together.is_empty() {
            all.push(format!("{key} = [{}]", list(&together)));
        }
    }
    (!missing.is_empty()).then(|| Exceeding {
        key: "grants.collections".to_owned(),
        what: Some(missing.join(" and ")),
        line: format!("grants.collections = {{ {} }}", all.join(", ")),
    })
}

/// Whether `interface` can change something. Answers of a plugin that imports it are never looked
/// up, shared or stored.
#[must_use]
pub fn writes(interface: &str) -> bool {
    find(interface).is_some_and(|granted| granted.writes)
}

fn find(interface: &str) -> Option<&'static Granted> {
    GRANTED.iter().find(|granted| granted.interfaces.contains(&interface))
}

/// Accepts a table of grants. A list of interfaces, the form of 0.1, is refused with an error that
/// shows the lines to write instead.
impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TableOrOldList)
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Table {
    embedding: Option<embedding::Grant>,
    collections: Option<collections::Grant>,
    logging: bool,
    settings: bool,
}

struct TableOrOldList;

impl<'de> Visitor<'de> for TableOrOldList {
    type Value = Grants;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table, such as grants = { settings = true }")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Grants, A::Error> {
        let Table { embedding, collections, logging, settings } =
            Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Grants { embedding, collections, logging, settings })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Grants, A::Error> {
        let mut interfaces = Vec::new();
        while let Some(interface) = list.next_element::<String>()? {
            interfaces.push(interface);
        }
        Err(de::Error::custom(new_form(&interfaces)))
    }
}

/// The error for a list of interfaces, with the lines that replace it.
fn new_form(interfaces: &[String]) -> String {
    let has = |names: &[&str]| interfaces.iter().any(|name| names.contains(&name.as_str()));
    let (reads, changes) = (has(&collections::INTERFACES), has(&documents::INTERFACES));
    let mut lines: Vec<&str> = interfaces
        .iter()
        .filter_map(|interface| find(interface))
        .map(|granted| granted.line)
        .filter(|line| !(reads && changes && line.starts_with("grants.collections")))
        .collect();
    if reads && changes {
        lines.push(r#"grants.collections = { read = ["*"], write = ["*"] }"#);
    }
    let unknown: Vec<_> =
        interfaces.iter().filter(|interface| find(interface).is_none()).cloned().collect();
    let mut message =
        "a list of interfaces is the old form: grants is a table with scopes now. Write".to_owned();
    for line in lines {
        message.push_str("\n  ");
        message.push_str(line);
    }
    if !unknown.is_empty() {
        message.push_str("\nand remove what no capability offers: ");
        message.push_str(&unknown.join(", "));
    }
    message
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use weir_core::name::Name;

    use super::*;

    fn grants(toml: &str) -> Result<Grants, String> {
        #[derive(Deserialize)]
        struct Pipeline {
            grants: Grants,
        }
        toml::from_str::<Pipeline>(toml)
            .map(|pipeline| pipeline.grants)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_grant_opens_its_interface_and_no_other() {
        let all = [
            ("weir:embedding/embedder", "grants.embedding = {}"),
            ("weir:embedding/plain-embedder", "grants.embedding = {}"),
            ("weir:vector/collections", r#"grants.collections.read = ["a"]"#),
            ("weir:vector/plain-collections", r#"grants.collections.read = ["a"]"#),
            ("weir:documents/writer", r#"grants.collections.write = ["a"]"#),
            ("weir:documents/plain-writer", r#"grants.collections.write = ["a"]"#),
            ("weir:observe/logging", "grants.logging = true"),
            ("weir:observe/settings", "grants.settings = true"),
        ];
        for (_, line) in all {
            let grants = grants(line).unwrap();
            for (interface, opens) in all {
                let granted = grants.access(interface) == Access::Granted;
                assert_eq!(granted, opens == line, "{line} and {interface}");
            }
            assert_eq!(grants.access("weir:teleport/beam"), Access::Unknown);
        }
    }

    #[test]
    fn a_scope_is_a_list_of_patterns() {
        let granted = grants(r#"grants.collections = { read = ["handbook", "notes-*"] }"#).unwrap();
        let collections = granted.collections.unwrap();
        for (name, read) in [("handbook", true), ("notes-1", true), ("secrets", false)] {
            assert_eq!(collections.read.covers(&Name::new(name).unwrap()), read, "{name}");
        }
        let error = grants(r#"grants.collections = { read = ["a*b"] }"#).unwrap_err();
        assert!(error.contains("'a*b' is not a pattern"), "{error}");
        let error = grants("grants.collektions = {}").unwrap_err();
        assert!(error.contains("unknown field `collektions`"), "{error}");
    }

    /// The keys that are refused, what is missing of their scopes, and the lines that allow it.
    fn exceeding(asked: &str, allowed: &str) -> Vec<(String, String, String)> {
        let exceeding = grants(asked).unwrap().exceeding(&grants(allowed).unwrap());
        let texts = exceeding
            .into_iter()
            .map(|Exceeding { key, what, line }| (key, what.unwrap_or_default(), line));
        texts.collect()
    }

    #[test]
    fn what_is_not_allowed_is_named_with_the_line_that_allows_it() {
        const NONE: &str = "grants = {}";
        for (asked, allowed, key, what, line) in [
            ("grants.embedding = {}", NONE, "grants.embedding", "", "grants.embedding = {}"),
            ("grants.logging = true", NONE, "grants.logging", "", "grants.logging = true"),
            ("grants.settings = true", NONE, "grants.settings", "", "grants.settings = true"),
            (
                r#"grants.collections.read = ["a", "b-*"]"#,
                r#"grants.collections = { read = ["a"], write = ["c"] }"#,
                "grants.collections",
                r#"read = ["b-*"]"#,
                r#"grants.collections = { read = ["a", "b-*"], write = ["c"] }"#,
            ),
            (
                r#"grants.collections = { read = ["*"], write = ["a"] }"#,
                NONE,
                "grants.collections",
                r#"read = ["*"] and write = ["a"]"#,
                r#"grants.collections = { read = ["*"], write = ["a"] }"#,
            ),
        ] {
            let expected = [key, what, line].map(ToOwned::to_owned).into();
            assert_eq!(exceeding(asked, allowed), [expected], "{asked}");
            // With the line, there is nothing left to allow.
            assert_eq!(exceeding(asked, line), []);
            assert_eq!(exceeding(allowed, line), []);
        }
        let narrower = r#"grants.collections = { read = ["notes-1", "notes-2*"], write = [] }"#;
        assert_eq!(exceeding(narrower, r#"grants.collections.read = ["notes-*"]"#), []);
        assert_eq!(exceeding("grants.collections = {}", NONE), []);
        assert_eq!(exceeding(NONE, NONE), []);
    }

    #[test]
    fn the_old_form_is_refused_with_the_lines_to_write_instead() {
        let old = r#"grants = ["weir:embedding/embedder", "weir:vector/collections"]"#;
        let error = grants(old).unwrap_err();
        assert!(error.contains("\n  grants.embedding = {}\n"), "{error}");
        assert!(error.ends_with(r#"grants.collections = { read = ["*"] }"#), "{error}");
        let old = r#"grants = ["weir:vector/collections", "weir:documents/writer", "x:y/z"]"#;
        let error = grants(old).unwrap_err();
        let both = "\n  grants.collections = { read = [\"*\"], write = [\"*\"] }\n";
        assert!(error.contains(both) && error.ends_with("offers: x:y/z"), "{error}");
        // The lines that the error shows are accepted.
        for granted in GRANTED {
            assert!((granted.opens)(&grants(granted.line).unwrap()), "{}", granted.line);
        }
    }
}
