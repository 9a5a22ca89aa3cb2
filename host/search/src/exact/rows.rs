//! The vectors of a collection, in blocks of contiguous rows. Rows are reused; their memory is
//! freed with the collection.

/// Blocks never move, so growing copies no vectors while searches wait for the lock.
const ROWS_PER_BLOCK: usize = 1024;

#[derive(Debug)]
pub(super) struct Rows {
    dimensions: usize,
    blocks: Vec<Box<[f32]>>,
    /// The number of rows ever used, which is also the next new row.
    used: u32,
    free: Vec<u32>,
}

impl Rows {
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, blocks: Vec::new(), used: 0, free: Vec::new() }
    }

    /// The number of rows ever used; every row is below it.
    pub(super) fn used(&self) -> usize {
        self.used as usize
    }

    /// Stores `vector`, which has the right dimensions, and returns its row.
    pub(super) fn insert(&mut self, vector: &[f32]) -> u32 {
        let row = self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.used - 1
        });
        let (block, range) = self.place(row);
        if block == self.blocks.len() {
            self.blocks.push(vec![0.0; ROWS_PER_BLOCK * self.dimensions].into());
        }
        self.blocks[block][range].copy_from_slice(vector);
        row
    }

    /// The vector of a row in use.
    #[inline]
    pub(super) fn get(&self, row: u32) -> &[f32] {
        let (block, range) = self.place(row);
        &self.blocks[block][range]
    }

    pub(super) fn remove(&mut self, row: u32) {
        self.free.push(row);
    }

    #[inline]
    fn place(&self, row: u32) -> (usize, std::ops::Range<usize>) {
        let start = row as usize % ROWS_PER_BLOCK * self.dimensions;
        (row as usize / ROWS_PER_BLOCK, start..start + self.dimensions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_and_used_again() {
        let mut rows = Rows::new(2);
        let vector = |n: u16| [f32::from(n), -f32::from(n)];
        let many = 2 * 1024 + 3;
        let all: Vec<_> = (0..many).map(|n| rows.insert(&vector(n))).collect();
        assert_eq!(all, (0..u32::from(many)).collect::<Vec<_>>());
        rows.remove(5);
        rows.remove(1_500);
        assert_eq!((rows.insert(&vector(1)), rows.insert(&vector(2))), (1_500, 5));
        assert_eq!(rows.used(), usize::from(many));
        assert_eq!((rows.get(5), rows.get(1_500)), (&vector(2)[..], &vector(1)[..]));
        assert_eq!(rows.get(2_050), vector(2_050));
    }
}
