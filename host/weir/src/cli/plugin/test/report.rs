//! What `weir plugin test` prints: a line for each request, with what is not as expected below it, and a summary; or
//! the same as JSON.

use std::fmt;

use serde_json::{Value, json};
use weir_core::name::Name;
use weir_runtime::plugin::expected::Difference;
use weir_runtime::plugin::manifest::Role;
use weir_runtime::trial::samples::Fault;

/// How the tests of a plugin have gone.
pub(super) struct Report {
    pub(super) name: Name,
    pub(super) version: String,
    pub(super) role: Role,
    pub(super) digest: String,
    pub(super) checked: Vec<Checked>,
}

/// One case or sample, or the plan of a policy.
pub(super) struct Checked {
    pub(super) name: String,
    /// The line of the manifest.
    pub(super) line: Option<usize>,
    pub(super) outcome: Outcome,
}

/// How that has gone.
pub(super) enum Outcome {
    /// A case is answered as expected, or a sample is handled.
    AsExpected { status: u16 },
    /// A case is answered in another way: with an error of the host, or after asking for a model, if so.
    Different { differences: Vec<Difference>, error: Option<String>, lacked_model: bool },
    /// A sample is not handled, or a case is not answered in time.
    Refused(Fault),
    /// A sample needs a model, and there is none.
    LacksModel,
    /// A policy's plan is compiled, with these parts of the key.
    Planned { key: Vec<String>, key_epoch: u32 },
}

const LACKS_MODEL: &str =
    "it embeds, and there is no model here: --config FILE says which there are";

impl Report {
    /// How many have failed.
    pub(super) fn failed(&self) -> usize {
        self.count("failed")
    }

    fn count(&self, label: &str) -> usize {
        self.checked.iter().filter(|checked| checked.outcome.label() == label).count()
    }

    /// The report for machines.
    pub(super) fn json(&self) -> Value {
        let Self { name, version, role, digest, checked } = self;
        let checked: Vec<_> = checked.iter().map(Checked::json).collect();
        json!({
            "name": name,
            "version": version,
            "role": role.as_str(),
            "digest": digest,
            "tests": checked,
            "passed": self.count("ok"),
            "failed": self.failed(),
            "skipped": self.count("skipped"),
        })
    }
}

impl Checked {
    fn json(&self) -> Value {
        let mut value = json!({
            "name": self.name,
            "line": self.line,
            "outcome": self.outcome.label(),
        });
        match &self.outcome {
            Outcome::AsExpected { status } => value["status"] = json!(status),
            Outcome::Different { differences, error, .. } => {
                value["differences"] = json!(differences);
                value["error"] = json!(error);
            }
            Outcome::Refused(fault) => value["error"] = json!(fault.to_string()),
            Outcome::LacksModel => value["error"] = json!(LACKS_MODEL),
            Outcome::Planned { key, key_epoch } => {
                value["key"] = json!(key);
                value["key_epoch"] = json!(key_epoch);
            }
        }
        value
    }
}

impl Outcome {
    fn label(&self) -> &'static str {
        match self {
            Self::AsExpected { .. } | Self::Planned { .. } => "ok",
            Self::Different { .. } | Self::Refused(_) => "failed",
            Self::LacksModel => "skipped",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for checked in &self.checked {
            checked.fmt(f)?;
        }
        let Self { name, version, .. } = self;
        let (passed, failed, skipped) = (self.count("ok"), self.failed(), self.count("skipped"));
        write!(f, "{name} {version}: {passed} ok, {failed} failed")?;
        if skipped > 0 {
            write!(f, ", {skipped} skipped")?;
        }
        match (self.role, self.checked.is_empty()) {
            (Role::Policy, _) => writeln!(f, " (a policy is loaded, and has no cases yet)"),
            (Role::Pipeline, true) => writeln!(f, " (its manifest has neither cases nor samples)"),
            (Role::Pipeline, false) => writeln!(f),
        }
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.outcome.label() {
            "failed" => "FAILED",
            label => label,
        };
        write!(f, "{label:<7} {}", self.name)?;
        match &self.outcome {
            Outcome::AsExpected { status } => writeln!(f, " ({status})"),
            Outcome::Different { differences, error, lacked_model } => {
                self.place(f)?;
                for difference in differences {
                    writeln!(f, "        {difference}")?;
                }
                if let Some(error) = error {
                    writeln!(f, "        ({error})")?;
                }
                if *lacked_model {
                    writeln!(f, "        ({LACKS_MODEL})")?;
                }
                Ok(())
            }
            Outcome::Refused(fault) => {
                self.place(f)?;
                writeln!(f, "        {fault}")
            }
            Outcome::LacksModel => writeln!(f, "\n        {LACKS_MODEL}"),
            Outcome::Planned { key, key_epoch } => {
                writeln!(
                    f,
                    "\n        the key is made of {}; its epoch is {key_epoch}",
                    key.join(", ")
                )
            }
        }
    }
}

impl Checked {
    fn place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => writeln!(f, " (plugin.toml:{line})"),
            None => writeln!(f),
        }
    }
}
