//! The candidates: policies for searches that do one thing differently.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use weir_test_components::with_manifest;

/// A candidate, and the policy that it is compared with.
pub(super) struct Candidate {
    /// What it does, in a word.
    pub(super) does: &'static str,
    pub(super) deployed: Policy,
    pub(super) tried: Policy,
}

/// A policy: a component, and its settings.
pub(super) struct Policy {
    /// The folder below that of all components.
    folder: &'static str,
    name: &'static str,
    settings: &'static [(&'static str, &'static str)],
}

/// All of them.
pub(super) const CANDIDATES: [Candidate; 5] = [
    Candidate { does: "merges", deployed: as_asked(&[]), tried: as_asked(&[LOWERCASE]) },
    Candidate { does: "splits", deployed: as_asked(&[LOWERCASE]), tried: as_asked(&[]) },
    Candidate { does: "shortens", deployed: DEFAULT, tried: as_asked(&[("ttl_ms", "5000")]) },
    Candidate { does: "refuses", deployed: DEFAULT, tried: guest("policy-refuses", &[]) },
    Candidate { does: "fails", deployed: DEFAULT, tried: guest("policy-fails", &[]) },
];

const LOWERCASE: (&str, &str) = ("lowercase", "true");
const DEFAULT: Policy = Policy { folder: "plugins", name: "policy-default", settings: &[] };

/// The key is of the fields of a search.
const fn as_asked(settings: &'static [(&'static str, &'static str)]) -> Policy {
    guest("policy-fields", settings)
}

const fn guest(name: &'static str, settings: &'static [(&'static str, &'static str)]) -> Policy {
    Policy { folder: "guests", name, settings }
}

impl Policy {
    /// Its component, below the folder of all components.
    pub(super) fn component(&self, components: &Path) -> PathBuf {
        components.join(self.folder).join(self.name).with_extension("wasm")
    }

    /// Its settings, for a configuration.
    pub(super) fn settings(&self) -> Map<String, Value> {
        self.settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    }

    /// It as a plugin, with a manifest that allows its settings.
    pub(super) fn plugin(&self, components: &Path) -> Result<Vec<u8>> {
        let file = self.component(components);
        let component = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let setting = |(name, _): &(&str, &str)| {
            let about = "type = \"string\"\noptional = true\ndescription = \"As its source says.\"";
            format!("[settings.{name}]\n{about}\n")
        };
        let settings: String = self.settings.iter().map(setting).collect();
        let about = format!("name = \"{}\"\nversion = \"1.0.0\"\n", self.name);
        let manifest = format!("{about}role = \"policy\"\nwit = \"0.2.0\"\n{settings}");
        Ok(with_manifest(&component, &manifest))
    }
}
