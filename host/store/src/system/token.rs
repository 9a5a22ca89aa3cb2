//! Tokens that administrators make for others, as the system store records them.
//!
//! Out of scope: the text of a token, of which only a hash is here, and what its scopes allow.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use weir_core::name::Name;

use crate::TruthError;

/// The most tokens that are kept, revoked ones included. When there is no room for a new one, the token
/// that was revoked first is forgotten.
pub const MAX_TOKENS: u32 = 1_000;

/// The most tenants that a token names.
pub const MAX_TOKEN_TENANTS: usize = 100;

/// A token's public id, which says nothing about its secret. Written as 16 hexadecimal digits, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(pub u64);

/// A text is no token's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token's id is 16 hexadecimal digits, in lower case")]
pub struct TokenIdError;

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl FromStr for TokenId {
    type Err = TokenIdError;

    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let is_id =
            text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let id = is_id.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or(TokenIdError)
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenIdError;

    fn try_from(text: String) -> Result<Self, TokenIdError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenScope {
    /// Looking at everything, also at what requests would be answered with.
    Read,
    /// Uploading plugins, and deploying pipelines.
    Deploy,
    /// Uploading plugins, and deploying policies.
    Policy,
    /// Invalidating and warming the cache.
    Cache,
}

impl TokenScope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Read, Self::Deploy, Self::Policy, Self::Cache];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Deploy => "deploy",
            Self::Policy => "policy",
            Self::Cache => "cache",
        }
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a scope is 'read', 'deploy', 'policy' or 'cache'")]
pub struct TokenScopeError;

impl FromStr for TokenScope {
    type Err = TokenScopeError;

    fn from_str(text: &str) -> Result<Self, TokenScopeError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(TokenScopeError)
    }
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Which one.
    pub id: TokenId,
    /// A hash of its text, from which that cannot be recovered.
    pub hash: [u8; 32],
    /// What people call it. Several can have the same name.
    pub name: Name,
    /// What it allows.
    pub scopes: BTreeSet<TokenScope>,
    /// For which tenants: at most [`MAX_TOKEN_TENANTS`]; `None` for all of them, and the whole server.
    pub tenants: Option<BTreeSet<Name>>,
    /// When it was made, in milliseconds since 1970 by the wall clock, which decides nothing.
    pub made_unix_ms: u64,
    /// Who has made it.
    pub made_by: String,
    /// When it was last used, about a minute late; `None` if it never was.
    pub used_unix_ms: Option<u64>,
    /// When it was revoked; `None` while it is valid.
    pub revoked_unix_ms: Option<u64>,
}

impl Token {
    /// Refuses a token that is larger than one may be.
    pub(crate) fn check(&self) -> Result<(), TokenError> {
        let tenants = self.tenants.as_ref().map_or(0, BTreeSet::len);
        if tenants > MAX_TOKEN_TENANTS {
            return Err(TokenError::TooManyTenants { limit: MAX_TOKEN_TENANTS });
        }
        Ok(())
    }
}

/// Why a token is not recorded.
#[derive(Debug, Error)]
pub enum TokenError {
    /// There are as many tokens as can be.
    #[error("there are already {limit} tokens, and no more are allowed: revoke some first")]
    TooMany {
        /// The most tokens.
        limit: u32,
    },
    /// It names more tenants than a token may.
    #[error("a token is for at most {limit} tenants, or for all")]
    TooManyTenants {
        /// The most tenants.
        limit: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] TruthError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        for (text, id) in [
            ("0000000000000000", Some(0)),
            ("00000000000000ff", Some(255)),
            ("ffffffffffffffff", Some(u64::MAX)),
            ("00000000000000FF", None),
            ("+00000000000000f", None),
            ("ff", None),
            ("00000000000000fff", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), id.map(TokenId), "{text}");
            if let Some(id) = id {
                assert_eq!(TokenId(id).to_string(), text);
            }
        }
    }

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in TokenScope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        for text in ["", "Read", "admin", "read deploy"] {
            assert_eq!(text.parse::<TokenScope>(), Err(TokenScopeError), "{text}");
        }
    }
}
