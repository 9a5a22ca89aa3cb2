//! What a plugin says of itself: `plugin.toml`, which its component carries.
//!
//! `docs/plugin-toml.md` is the reference for authors. A manifest comes from outside, and is read in one
//! go: everything that is wrong with it is in one error. Out of scope: whether the operator allows
//! what it asks for ([`super::resolve`]), and whether the component is what the manifest says.

mod document;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use weir_core::name::Name;
use weir_core::pattern::Scope;
pub use weir_store::system::Role;

use self::document::{Document, Path, Reader};
pub use self::requests::{Case, Expect, Request};
use super::declared::{Declared, Written, shown};
use super::section::{MAX_MANIFEST_BYTES, SectionError};
use crate::capability::grants::Grants;
use crate::diagnose::Mistake;
use crate::engine::component::WIT_VERSION;
use crate::engine::size::Size;

/// The keys at the top level.
const KEYS: [&str; 10] = [
    "name",
    "version",
    "role",
    "wit",
    "description",
    "grants",
    "limits",
    "settings",
    "samples",
    "cases",
];
/// The keys that only pipelines have.
const OF_PIPELINES: [&str; 4] = ["grants", "limits", "samples", "cases"];

/// The longest version.
const MAX_VERSION_CHARS: usize = 64;
/// The longest description, of the plugin or a setting.
const MAX_DESCRIPTION_CHARS: usize = 1_024;
/// The most settings.
const MAX_SETTINGS: usize = 64;
/// The most patterns of a scope.
const MAX_PATTERNS: usize = 64;
/// The range of a deadline, as in the configuration.
const DEADLINE_MS: (u64, u64) = (1, 3_600_000);
/// The range of a request's memory, as in the configuration.
const MEMORY_BYTES: (u64, u64) = (65_536, 4 << 30);

/// A plugin's manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The plugin's name, whatever it is deployed as.
    pub name: Name,
    /// Its version, for people: versions are told apart by their digests.
    pub version: String,
    /// What it is.
    pub role: Role,
    /// The version of the WIT that it is built for: this host's, or it is refused.
    pub wit: String,
    /// What it does.
    pub description: Option<String>,
    /// What it asks for. The default is nothing.
    pub grants: Grants,
    /// What it needs of guests.
    pub limits: Limits,
    /// Its settings by name.
    pub settings: BTreeMap<String, Declared>,
    /// Requests for the smoke call.
    pub samples: Vec<Request>,
    /// The author's tests.
    pub cases: Vec<Case>,
}

/// `[limits]`: what a pipeline needs of guests. What is not set is what the operator allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The deadline of its whole run.
    pub deadline_ms: Option<u64>,
    /// The memory of one request.
    pub max_memory_bytes: Option<usize>,
    /// The size of its guests.
    pub size: Option<Size>,
}

/// Everything that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestErrors {
    /// The faults, in the order of their lines.
    pub faults: Vec<Mistake>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the manifest is not valid:")?;
        for fault in &self.faults {
            write!(f, "\n  plugin.toml:{fault}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl std::error::Error for ManifestErrors {}

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it: what is not TOML alone, otherwise at least one fault of each part
    /// (a key of the top level, a setting, a sample, a case), and all if its values have the right types.
    pub fn parse(text: &str) -> Result<Self, ManifestErrors> {
        let only = |mistake| ManifestErrors { faults: vec![mistake], more: 0 };
        if text.len() > MAX_MANIFEST_BYTES {
            let message = SectionError::TooLarge { bytes: text.len() }.to_string();
            return Err(only(Mistake { line: None, key: None, message }));
        }
        let document = Document::parse(text).map_err(only)?;
        let mut reader = Reader::new(&document);
        let manifest = Self::read(&mut reader);
        match (manifest, reader.errors()) {
            (Some(manifest), None) => Ok(manifest),
            (_, Some(errors)) => Err(errors),
            // Whatever is missing was noted.
            (None, None) => Err(ManifestErrors { faults: Vec::new(), more: 0 }),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.only(&KEYS);
        let name = reader.required(&Path::to("name"));
        let version: Option<String> = reader.required(&Path::to("version"));
        if version.as_deref().is_some_and(|version| !is_text(version, MAX_VERSION_CHARS)) {
            let problem = format!("must be 1 to {MAX_VERSION_CHARS} characters on one line");
            reader.fault(&Path::to("version"), problem);
        }
        let role = reader.required(&Path::to("role"));
        let wit: Option<String> = reader.required(&Path::to("wit"));
        if let Some(wit) = wit.as_deref().filter(|wit| *wit != WIT_VERSION) {
            let problem = format!(
                "is '{}', but this host speaks {WIT_VERSION}: rebuild the plugin for \
                 {WIT_VERSION} (in Rust, with weir-sdk {WIT_VERSION})",
                shown(wit)
            );
            reader.fault(&Path::to("wit"), problem);
        }
        let description: Option<String> = reader.optional(&Path::to("description"));
        if let Some(text) = &description {
            check_description(reader, &Path::to("description"), text);
        }
        if role == Some(Role::Policy) {
            for path in OF_PIPELINES.map(Path::to) {
                if reader.has(&path) {
                    reader.fault(&path, "is not for policies: only pipelines have it");
                }
            }
        }
        let grants = read_grants(reader);
        let limits = read_limits(reader);
        let settings = read_settings(reader);
        let samples = requests::samples(reader);
        let cases = requests::cases(reader);
        Some(Self {
            name: name?,
            version: version?,
            role: role?,
            wit: wit?,
            description,
            grants,
            limits,
            settings,
            samples,
            cases,
        })
    }
}

fn read_grants(reader: &mut Reader<'_>) -> Grants {
    let path = Path::to("grants");
    let grants: Grants = reader.optional(&path).unwrap_or_default();
    let collections = grants.collections.clone().unwrap_or_default();
    let scopes: [(_, &Scope); 2] = [("read", &collections.read), ("write", &collections.write)];
    for (key, scope) in scopes {
        let count = scope.patterns().len();
        if count > MAX_PATTERNS {
            let path = path.key("collections").key(key);
            reader
                .fault(&path, format!("has {count} patterns, but at most {MAX_PATTERNS} are read"));
        }
    }
    grants
}

fn read_limits(reader: &mut Reader<'_>) -> Limits {
    let path = Path::to("limits");
    let limits: Limits = reader.optional(&path).unwrap_or_default();
    for (key, value, (least, most)) in [
        ("deadline_ms", limits.deadline_ms, DEADLINE_MS),
        ("max_memory_bytes", limits.max_memory_bytes.map(|bytes| bytes as u64), MEMORY_BYTES),
    ] {
        if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
            let problem = format!("must be {least} to {most}, but is {value}");
            reader.fault(&path.key(key), problem);
        }
    }
    limits
}

fn read_settings(reader: &mut Reader<'_>) -> BTreeMap<String, Declared> {
    let all = Path::to("settings");
    let mut settings = BTreeMap::new();
    for name in reader.names(&all, MAX_SETTINGS) {
        let path = all.key(name);
        if let Err(error) = Name::new(name) {
            reader.fault(&path, error.to_string());
        }
        let Some(written) = reader.optional::<Written>(&path) else { continue };
        check_description(reader, &path.key("description"), &written.description);
        let mut fault =
            |key: &str, problem: String| reader.fault(&path.key(key.to_owned()), problem);
        settings.insert(name.to_owned(), Declared::new(written, &mut fault));
    }
    settings
}

fn check_description(reader: &mut Reader<'_>, path: &Path<'_>, text: &str) {
    let is_control = |c: char| c.is_control() && !c.is_ascii_whitespace();
    let count = text.chars().count();
    if !(1..=MAX_DESCRIPTION_CHARS).contains(&count) || text.trim().is_empty() {
        let problem = format!("must be 1 to {MAX_DESCRIPTION_CHARS} characters, but has {count}");
        reader.fault(path, problem);
    } else if text.contains(is_control) {
        reader.fault(path, "must not have control characters");
    }
}

/// Whether `text` is one line of at most `most` characters, and not empty.
fn is_text(text: &str, most: usize) -> bool {
    let mut chars = text.chars();
    let is_short = chars.by_ref().take(most + 1).count() <= most;
    is_short && !text.trim().is_empty() && !text.contains(char::is_control)
}
