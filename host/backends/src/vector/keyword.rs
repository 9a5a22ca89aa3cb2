//! Words to weighted terms (BM25), with collection statistics frozen for an epoch.

use std::sync::Arc;

/// The terms of `text` (lower-cased, stop words left out, stemmed) and how often each
/// occurs, sorted by term.
pub fn terms(_text: &str) -> Vec<(Arc<str>, u32)> {
    todo!()
}
