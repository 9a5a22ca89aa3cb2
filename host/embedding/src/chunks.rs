//! Splits a document's text, at sentences where it can, into chunks that fit the model's
//! window.
//!
//! A chunk is a byte range of the document. text-splitter finds the boundaries; this module
//! keeps the cost proportional to the length of the text. Out of scope: overlapping chunks, and
//! headings repeated in each chunk.

use std::ops::Range;

use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};

use super::Embedder;
use super::tokenizer::count_bounded;

/// For each chunk, text-splitter reads all of the remaining text. It therefore gets one section
/// at a time, a dozen or so chunks of English. The last chunk of a section starts the next one.
const SECTION_BYTES: usize = 16 * 1024;

/// The byte ranges of `text`'s chunks, in order. Each fits the model's window, ends at the best
/// boundary available (paragraph, sentence, word, character), has no surrounding whitespace,
/// and contains a letter or a digit. Text without letters or digits has no chunks; text that
/// fits is one chunk. This blocks: call it off the async threads.
pub fn split(text: &str, embedder: &dyn Embedder) -> Vec<Range<u32>> {
    let sizer = Sizer(embedder);
    let whole = trimmed(text);
    let mut chunks = if sizer.size(&text[whole.clone()]) <= embedder.max_tokens() {
        vec![whole]
    } else {
        split_long(text, whole, sizer)
    };
    chunks.retain(|chunk| has_word(&text[chunk.clone()]));
    chunks.into_iter().map(|chunk| offset(chunk.start)..offset(chunk.end)).collect()
}

fn split_long(text: &str, whole: Range<usize>, sizer: Sizer<'_>) -> Vec<Range<usize>> {
    let max_tokens = sizer.0.max_tokens();
    let full = TextSplitter::new(ChunkConfig::new(max_tokens).with_sizer(sizer));
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut start = whole.start;
    let mut section_bytes = SECTION_BYTES;
    loop {
        let end = text.floor_char_boundary(start.saturating_add(section_bytes)).min(whole.end);
        let section = &text[start..end];
        let range = |(offset, chunk): (usize, &str)| start + offset..start + offset + chunk.len();
        if end == whole.end {
            chunks.extend(even(section, sizer).chunk_indices(section).map(range));
            return chunks;
        }
        let before = chunks.len();
        chunks.extend(full.chunk_indices(section).map(range));
        // The last chunk ends with the section, not at a boundary of the text, so split it again.
        chunks.truncate(before.max(chunks.len().saturating_sub(1)));
        if chunks.len() > before {
            start = chunks.last().map_or(start, |last| last.end);
            section_bytes = SECTION_BYTES;
        } else {
            section_bytes = section_bytes.saturating_mul(2);
        }
    }
}

/// Splits the last section into as few chunks as it needs, of about equal size. A short final
/// chunk would rank well even though it says little.
fn even<'a>(section: &str, sizer: Sizer<'a>) -> TextSplitter<Sizer<'a>> {
    let max_tokens = sizer.0.max_tokens();
    let tokens = sizer.0.count_tokens(section);
    let chunks = tokens.div_ceil(max_tokens).max(1);
    let desired_tokens = tokens.div_ceil(chunks).min(max_tokens);
    TextSplitter::new(ChunkConfig::new(desired_tokens..=max_tokens).with_sizer(sizer))
}

#[derive(Clone, Copy)]
struct Sizer<'a>(&'a dyn Embedder);

impl ChunkSizer for Sizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        count_bounded(chunk, self.0.max_tokens(), |text| self.0.count_tokens(text))
    }
}

fn trimmed(text: &str) -> Range<usize> {
    let end = text.trim_end().len();
    let start = end - text[..end].trim_start().len();
    start..end
}

/// Text without a letter or a digit contains nothing to search for.
fn has_word(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// A document has at most 1 GiB, so the conversion does not saturate.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
