//! Checks the settings of a deployment against those that its plugin's manifest declares.
//!
//! Out of scope: where they come from, and how plugins read them ([`crate::settings`]).

use std::collections::BTreeMap;

use thiserror::Error;

use super::declared::{Declared, shown};
use crate::diagnose::did_you_mean;
use crate::settings::Settings;

/// The most faults that are listed.
const MAX_FAULTS: usize = 128;

/// Settings that do not fit a manifest, one line for each fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the settings do not fit the plugin's manifest:\n  {}", faults.join("\n  "))]
pub struct SettingsError {
    /// One line for each fault.
    pub faults: Vec<String>,
}

/// The settings of a plugin that declares these: what is `given`, and the defaults of the others that
/// have one.
///
/// # Errors
/// A setting is not declared, not a value of its type, or missing; all faults at once.
pub fn complete(
    declared: &BTreeMap<String, Declared>,
    given: &Settings,
) -> Result<Settings, SettingsError> {
    let mut complete = Settings::default();
    let mut faults = Vec::new();
    for (name, declared) in declared {
        match given.0.get(name) {
            Some(setting) => match declared.of.accept(&setting.0) {
                Ok(setting) => {
                    complete.0.insert(name.clone(), setting);
                }
                Err(problem) => faults.push(format!("settings.{name}: {problem}")),
            },
            None => match &declared.default {
                Some(default) => {
                    complete.0.insert(name.clone(), default.clone());
                }
                None if declared.optional => {}
                None => faults.push(format!(
                    "settings.{name}: must be set, to {}: it has no default",
                    declared.of
                )),
            },
        }
    }
    let mut unknown = given.0.keys().filter(|name| !declared.contains_key(*name));
    while faults.len() < MAX_FAULTS
        && let Some(name) = unknown.next()
    {
        let hint = did_you_mean(name, declared.keys().map(String::as_str));
        faults.push(format!("settings.{}: the plugin has no such setting{hint}", shown(name)));
    }
    match unknown.count() {
        0 => {}
        more => faults.push(format!("and {more} more that the plugin does not have")),
    }
    if faults.is_empty() { Ok(complete) } else { Err(SettingsError { faults }) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::plugin::manifest::Manifest;

    const DECLARED: &str = r#"
        name = "a"
        version = "1"
        role = "policy"
        wit = "0.2.0"
        [settings.limit]
        type = "integer"
        minimum = 1
        maximum = 100
        default = 10
        description = "How many"
        [settings.mode]
        type = "string"
        values = ["dense", "hybrid"]
        default = "hybrid"
        description = "How"
        [settings.collection]
        type = "string"
        description = "Where"
        [settings.model]
        type = "string"
        optional = true
        description = "Another model"
    "#;

    /// The complete settings as `name=text`, or the faults.
    fn completed(given: &str) -> Result<Vec<String>, Vec<String>> {
        let declared = Manifest::parse(DECLARED).unwrap().settings;
        let settings = complete(&declared, &toml::from_str(given).unwrap());
        let shown = |settings: Settings| {
            settings.pairs().into_iter().map(|(name, text)| format!("{name}={text}")).collect()
        };
        settings.map(shown).map_err(|error| error.faults)
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let defaults = ["collection=books", "limit=10", "mode=hybrid"];
        assert_eq!(completed("collection = 'books'").unwrap(), defaults);
        let given = completed("collection = 'b'\nlimit = 100\nmode = 'dense'").unwrap();
        assert_eq!(given, ["collection=b", "limit=100", "mode=dense"]);
        let given = completed("collection = 'b'\nmodel = 'm'").unwrap();
        assert_eq!(given, ["collection=b", "limit=10", "mode=hybrid", "model=m"]);
    }

    #[test]
    fn every_fault_is_named() {
        let faults = completed("limit = 0\nmode = 'fast'\nlimits = 1\nx = true").unwrap_err();
        assert_eq!(
            faults,
            [
                "settings.collection: must be set, to a string: it has no default",
                "settings.limit: must be an integer from 1 to 100, but is '0'",
                "settings.mode: must be one of 'dense', 'hybrid', but is 'fast'",
                "settings.limits: the plugin has no such setting, did you mean 'limit'?",
                "settings.x: the plugin has no such setting",
            ]
        );
        let wrong_type = completed("collection = 'b'\nlimit = 'many'").unwrap_err();
        assert_eq!(wrong_type, ["settings.limit: must be an integer from 1 to 100, but is 'many'"]);
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let many: String = (0..1_000).map(|number| format!("x{number} = 1\n")).collect();
        let faults = completed(&many).unwrap_err();
        assert_eq!(faults.len(), MAX_FAULTS + 1);
        let last = faults.last().unwrap();
        assert_eq!(last, "and 873 more that the plugin does not have");
    }
}
