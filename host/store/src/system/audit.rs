//! The audit log: who has changed what.
//!
//! Out of scope: what is worth a line, and who may read it.

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
    /// What was done.
    pub action: String,
    /// What it was done to.
    pub target: String,
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
