//! Turns text into tokens, and counts tokens without reading more than needed.
//!
//! The batch adds the padding. Nothing is truncated here: text over the model's window is an
//! error.

use tokenizers::Tokenizer;

use super::EmbedError;

/// A long text is counted by a prefix of this size, then by one four times as long, and so on.
const PROBE_BYTES: usize = 4096;

/// The tokens of one text, special tokens included: never empty, never over the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens(pub(super) Box<[u32]>);

impl Tokens {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// A model's tokenizer, and the model's window.
pub(super) struct TextTokenizer {
    tokenizer: Tokenizer,
    pad_id: u32,
    max_tokens: usize,
}

impl TextTokenizer {
    /// Loads a `tokenizer.json`.
    pub(super) fn from_bytes(json: &[u8], max_tokens: usize) -> Result<Self, tokenizers::Error> {
        let mut tokenizer = Tokenizer::from_bytes(json)?;
        // Only the token is taken from the padding; the mask hides it from the model.
        let pad_id = tokenizer.get_padding().map_or(0, |padding| padding.pad_id);
        // Tokenizer files set a fixed padding and silent truncation.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None)?;
        // "[SEP]" in a client's text is plain text.
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { tokenizer, pad_id, max_tokens })
    }

    pub(super) fn pad_id(&self) -> u32 {
        self.pad_id
    }

    pub(super) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The number of tokens in `text`. Text that cannot be tokenized counts as too long for any
    /// window.
    pub(super) fn count(&self, text: &str) -> usize {
        self.tokenizer.encode_fast(text, true).map_or(usize::MAX, |encoding| encoding.len())
    }

    /// All tokens of `text`.
    pub(super) fn encode(&self, text: &str) -> Result<Tokens, EmbedError> {
        let tokens = if text.len() > PROBE_BYTES {
            count_bounded(text, self.max_tokens, |text| self.count(text))
        } else {
            0
        };
        if tokens > self.max_tokens {
            return Err(EmbedError::TooLong { index: 0, tokens, max_tokens: self.max_tokens });
        }
        let encoding = self
            .tokenizer
            .encode_fast(text, true)
            .map_err(|error| EmbedError::Failed(format!("the tokenizer: {error}")))?;
        match encoding.len() {
            0 => Err(EmbedError::Failed("the tokenizer returned no tokens for a text".into())),
            tokens if tokens > self.max_tokens => {
                Err(EmbedError::TooLong { index: 0, tokens, max_tokens: self.max_tokens })
            }
            _ => Ok(Tokens(encoding.get_ids().into())),
        }
    }
}

/// Counts the tokens of `text` with `count`, exactly up to `max_tokens`. Of longer text, it reads
/// only enough to prove that it is longer, so refusing a megabyte costs as much as a few pages.
pub(super) fn count_bounded(text: &str, max_tokens: usize, count: impl Fn(&str) -> usize) -> usize {
    let mut probe_bytes = PROBE_BYTES;
    while probe_bytes < text.len() {
        let tokens = count(&text[..text.floor_char_boundary(probe_bytes)]);
        // The whole text has fewer tokens than its prefix only if the cut splits a word, and
        // then by less than a window.
        if tokens > 2 * max_tokens {
            return tokens;
        }
        probe_bytes = probe_bytes.saturating_mul(4);
    }
    count(text)
}
