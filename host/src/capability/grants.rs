//! Grants: the imports that an operator allows a plugin, by the name of their interface.

use std::collections::BTreeSet;
use std::str::FromStr;

use thiserror::Error;

/// An interface that needs a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// `weir:embedding/embedder`
    Embedder,
    /// `weir:vector/collections`
    Collections,
    /// `weir:documents/writer`
    DocumentsWriter,
    /// `weir:observe/logging`
    Logging,
    /// `weir:observe/settings`
    Settings,
}

impl Grant {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Embedder, Self::Collections, Self::DocumentsWriter, Self::Logging, Self::Settings];

    /// The interface's name, without its version.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::Embedder => "weir:embedding/embedder",
            Self::Collections => "weir:vector/collections",
            Self::DocumentsWriter => "weir:documents/writer",
            Self::Logging => "weir:observe/logging",
            Self::Settings => "weir:observe/settings",
        }
    }

    /// Whether a pipeline with this import changes something: it is then never looked up,
    /// coalesced or stored.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::DocumentsWriter)
    }
}

/// No interface of that name needs, or is given, a grant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' is no grant; there are: {known}", known = known())]
pub struct UnknownGrant(String);

fn known() -> String {
    Grant::ALL.map(Grant::interface).join(", ")
}

impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(text: &str) -> Result<Self, UnknownGrant> {
        Self::ALL
            .into_iter()
            .find(|grant| grant.interface() == text)
            .ok_or_else(|| UnknownGrant(text.to_owned()))
    }
}

/// A plugin's grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<Grant>);

impl Grants {
    /// Reads the names in a configuration.
    ///
    /// # Errors
    /// The first name that is no grant.
    pub fn parse(names: &[String]) -> Result<Self, UnknownGrant> {
        names.iter().map(|name| name.parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Each grant once, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = Grant> + '_ {
        self.0.iter().copied()
    }

    /// Whether it is among them.
    #[must_use]
    pub fn contains(&self, grant: Grant) -> bool {
        self.0.contains(&grant)
    }
}
