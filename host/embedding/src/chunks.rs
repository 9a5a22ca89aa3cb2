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

/// The byte ranges of `text`'s chunks, in order. Each fits the model's window, in tokens and in
/// bytes, ends at the best boundary available (paragraph, sentence, word, character), has no
/// surrounding whitespace, and contains a letter or a digit. Text without letters or digits has no
/// chunks; text that fits is one chunk. This blocks: call it off the async threads.
pub fn split(text: &str, embedder: &dyn Embedder) -> Vec<Range<u32>> {
    let sizer = Sizer(embedder);
    let whole = trimmed(text);
    let fits = whole.len() <= embedder.max_bytes()
        && sizer.size(&text[whole.clone()]) <= embedder.max_tokens();
    let mut chunks = if fits { vec![whole] } else { split_long(text, whole, sizer) };
    chunks.retain(|chunk| has_word(&text[chunk.clone()]));
    chunks.into_iter().map(|chunk| offset(chunk.start)..offset(chunk.end)).collect()
}

fn split_long(text: &str, whole: Range<usize>, sizer: Sizer<'_>) -> Vec<Range<usize>> {
    let max_tokens = sizer.0.max_tokens();
    let full = TextSplitter::new(ChunkConfig::new(max_tokens).with_sizer(sizer));
    let mut chunks: Vec<Range<usize>> = Vec::new();
    let mut start = whole.start;
    let max_bytes = sizer.0.max_bytes();
    let mut section_bytes = SECTION_BYTES.min(max_bytes);
    loop {
        let end = text.floor_char_boundary(start.saturating_add(section_bytes)).min(whole.end);
        let section = &text[start..end];
        let range = |(offset, chunk): (usize, &str)| start + offset..start + offset + chunk.len();
        if end == whole.end {
            chunks.extend(even(section, sizer).chunk_indices(section).map(range));
            return chunks;
        }
        let is_longer = section_bytes > SECTION_BYTES;
        // The last chunk ends with the section, not at a boundary of the text, so split it again.
        // Of a section that had to be longer for its first chunk, the others are not looked at: there
        // could be many, and each would cost a look at the whole section.
        let mut found: Vec<_> = full
            .chunk_indices(section)
            .take(if is_longer { 2 } else { usize::MAX })
            .map(range)
            .collect();
        found.pop();
        if let Some(last) = found.last() {
            start = last.end;
            section_bytes = SECTION_BYTES.min(max_bytes);
            chunks.append(&mut found);
        } else if section_bytes < max_bytes {
            section_bytes = section_bytes.saturating_mul(2).min(max_bytes);
        } else {
            // So few tokens in so many bytes: a chunk, whatever the boundary.
            let cut = section.rfind(char::is_whitespace).filter(|&cut| cut > 0);
            let cut = cut.unwrap_or(section.len());
            let chunk = trimmed(&section[..cut]);
            chunks.push(start + chunk.start..start + chunk.end);
            start += cut;
            section_bytes = SECTION_BYTES.min(max_bytes);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::{EmbedError, Embedded, Origin, Texts};

    /// A word is a token. Counts the bytes that it reads.
    #[derive(Default)]
    struct Words {
        bytes: AtomicUsize,
    }

    #[async_trait]
    impl Embedder for Words {
        fn model(&self) -> &str {
            "words"
        }

        fn model_digest(&self) -> &str {
            "00"
        }

        fn dimensions(&self) -> usize {
            1
        }

        fn count_tokens(&self, text: &str) -> usize {
            assert!(text.len() <= self.max_bytes(), "{} bytes are tokenized", text.len());
            self.bytes.fetch_add(text.len(), Ordering::Relaxed);
            text.split_whitespace().count()
        }

        async fn embed(&self, _: &Texts, _: &Origin) -> Result<Vec<Embedded>, EmbedError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn no_chunk_has_too_many_bytes_and_the_work_is_linear_in_the_text() {
        for unit in ["x", "境", &format!("{} ", "x".repeat(200)), &" ".repeat(999)] {
            for bytes in [200 << 10, 1 << 20] {
                let text = format!("a{}z", unit.repeat(bytes / unit.len()));
                let words = Words::default();
                let chunks = split(&text, &words);
                let mut kept = 0;
                for chunk in &chunks {
                    let chunk = &text[chunk.start as usize..chunk.end as usize];
                    assert!(chunk.len() <= words.max_bytes(), "{} bytes", chunk.len());
                    assert!(words.count_tokens(chunk) <= words.max_tokens());
                    kept += chunk.chars().filter(|c| c.is_alphanumeric()).count();
                }
                assert_eq!(kept, text.chars().filter(|c| c.is_alphanumeric()).count());
                let read = words.bytes.into_inner();
                let start = &unit[..unit.len().min(4)];
                assert!(read <= 40 * text.len(), "{start:?}: {read} bytes of {}", text.len());
            }
        }
    }
}
