//! Cuts a document's text into chunks that fit the model's window, by sentences.

use std::ops::Range;

use super::Embedder;

/// The byte ranges of `text`'s chunks, in order: each fits the model's window, is cut at
/// the best boundary there is (paragraph, sentence, word, character), and is not blank. A
/// text without words has none. Blocking: call it off the async threads.
pub fn split(_text: &str, _embedder: &dyn Embedder) -> Vec<Range<u32>> {
    todo!()
}
