//! The audit log: who has changed what.
//!
//! Out of scope: what is worth a line, and who may read it.

use weir_core::name::Name;

use super::TokenId;

/// How many lines are kept, the newest.
pub const KEPT_AUDIT: u32 = 100_000;

/// The most lines of one answer.
pub const MAX_AUDIT_PAGE: u32 = 1_000;

/// The longest text of a line. A longer one is cut: a line without its end is worth more than none.
pub const MAX_AUDIT_TEXT_BYTES: usize = 1_024;

/// A line of the audit log. Texts of more than [`MAX_AUDIT_TEXT_BYTES`] are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// When, in milliseconds since 1970. The order of lines is that of their ids.
    pub at_unix_ms: u64,
    /// Who: a token's name, not the token.
    pub who: String,
    /// The id of the token; `None` for the one in the administrator's file.
    pub token: Option<TokenId>,
    /// What was done.
    pub action: String,
    /// What it was done to, as it can be asked for.
    pub target: String,
    /// The tenant that it concerns; `None` if it is about the whole server.
    pub tenant: Option<Name>,
    /// What else there is to say about what was done.
    pub detail: String,
    /// How it ended.
    pub outcome: String,
}

/// A line of the audit log as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number. Later lines have larger ones.
    pub id: u64,
    /// What it says.
    pub record: AuditRecord,
}

/// Which lines of the audit log are asked for. By default, none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// Only those with smaller ids.
    pub before: Option<u64>,
    /// How many, at most [`MAX_AUDIT_PAGE`].
    pub limit: u32,
    /// Only those about this target.
    pub target: Option<String>,
    /// Only those about this tenant.
    pub tenant: Option<Name>,
}

/// As much of `text` as is kept of it, without half a character.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_AUDIT_TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let (short, exact) = ("a".repeat(5), "a".repeat(MAX_AUDIT_TEXT_BYTES));
        for (text, kept) in [
            (short.clone(), short.as_str()),
            (exact.clone(), &exact),
            (format!("{exact}b"), &exact),
            (format!("{}ü", &exact[1..]), &exact[1..]),
        ] {
            assert_eq!(cut(&text), kept);
        }
    }
}
