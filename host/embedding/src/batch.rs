//! The batch for one run of the model, and which queued texts it takes.
//!
//! On a CPU, a batch is hardly faster than its texts one by one, and padding costs as much as
//! real tokens. A batch therefore holds texts of nearly equal length, and its size is bounded
//! in tokens.

use super::tokenizer::Tokens;

/// Texts of one run, padded to the longest: `rows` texts of `columns` tokens each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Token ids, row by row.
    pub(super) ids: Vec<i64>,
    /// 1 for a token, 0 for padding, row by row.
    pub(super) mask: Vec<i64>,
}

impl Batch {
    pub(super) fn pad<'a>(texts: impl Iterator<Item = &'a Tokens> + Clone, pad_id: u32) -> Self {
        let columns = texts.clone().map(Tokens::count).max().unwrap_or(0);
        let (mut rows, mut ids, mut mask) = (0, Vec::new(), Vec::new());
        for text in texts {
            rows += 1;
            ids.extend(text.0.iter().map(|&id| i64::from(id)));
            mask.resize(ids.len(), 1);
            ids.resize(rows * columns, i64::from(pad_id));
            mask.resize(ids.len(), 0);
        }
        Self { rows, columns, ids, mask }
    }
}

/// Decides, one text at a time, what joins a batch.
pub(super) struct Gathering {
    first_tokens: usize,
    columns: usize,
    rows: usize,
    max_rows: usize,
    max_batch_tokens: usize,
}

impl Gathering {
    /// A batch that starts with a text of `first_tokens`, whatever its length.
    pub(super) fn new(first_tokens: usize, max_rows: usize, max_batch_tokens: usize) -> Self {
        Self { first_tokens, columns: first_tokens, rows: 1, max_rows, max_batch_tokens }
    }

    /// Whether the batch is full.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.max_rows || (self.rows + 1) * self.columns > self.max_batch_tokens
    }

    /// Adds a text of `tokens` if it fits the batch; otherwise leaves it for another batch.
    pub(super) fn admit(&mut self, tokens: usize) -> bool {
        let columns = self.columns.max(tokens);
        let near = self.first_tokens.abs_diff(tokens) <= (self.first_tokens / 8).max(2);
        let fits = (self.rows + 1) * columns <= self.max_batch_tokens;
        let admitted = near && fits && self.rows < self.max_rows;
        if admitted {
            self.rows += 1;
            self.columns = columns;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(ids: &[u32]) -> Tokens {
        Tokens(ids.into())
    }

    #[test]
    fn a_batch_is_padded_to_its_longest_text() {
        let texts = [tokens(&[5, 6]), tokens(&[7, 8, 9])];
        let batch = Batch::pad(texts.iter(), 1);
        assert_eq!((batch.rows, batch.columns), (2, 3));
        assert_eq!(batch.ids, [5, 6, 1, 7, 8, 9]);
        assert_eq!(batch.mask, [1, 1, 0, 1, 1, 1]);
    }

    #[test]
    fn texts_gather_by_length_up_to_the_tokens_of_a_batch() {
        /// First length, rows allowed, tokens allowed; then the lengths offered and taken.
        type Case = (usize, usize, usize, &'static [usize], &'static [usize]);
        let cases: [Case; 6] = [
            (10, 99, 1000, &[8, 12, 13, 7, 10], &[8, 12, 10]),
            (80, 99, 1000, &[70, 90, 69, 91], &[70, 90]),
            (100, 99, 300, &[100, 100, 100], &[100, 100]),
            (100, 99, 202, &[101, 101], &[101]),
            (10, 2, 1000, &[10, 10], &[10]),
            // A text longer than a batch allows still runs, alone.
            (500, 99, 300, &[500], &[]),
        ];
        for (first, max_rows, max_tokens, offered, taken) in cases {
            let mut gathering = Gathering::new(first, max_rows, max_tokens);
            let found: Vec<_> = offered.iter().copied().filter(|&n| gathering.admit(n)).collect();
            assert_eq!(found, taken, "first {first}, at most {max_rows} rows, {max_tokens} tokens");
        }
    }
}
