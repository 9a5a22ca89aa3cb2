//! Limits the memory of one store: the sum of all of its memories and tables. wasmtime's own
//! `StoreLimits` limits each of them separately.

use wasmtime::{Error, ResourceLimiter};

/// The size of a table element on a 64-bit machine.
const TABLE_ELEMENT_BYTES: usize = 8;

/// The memory budget of one store.
#[derive(Debug)]
pub struct MemoryBudget {
    max_bytes: usize,
    used_bytes: usize,
    refused: bool,
}

impl MemoryBudget {
    /// Creates an unused budget of `max_bytes`.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, used_bytes: 0, refused: false }
    }

    /// Whether any growth was refused, which is the likely cause if the guest then traps.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused
    }

    fn grow(&mut self, current_bytes: usize, desired_bytes: usize) -> bool {
        let more_bytes = desired_bytes.saturating_sub(current_bytes);
        let fits = more_bytes <= self.max_bytes - self.used_bytes;
        if fits {
            self.used_bytes += more_bytes;
        } else {
            self.refused = true;
        }
        fits
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, Error> {
        Ok(self.grow(current, desired))
    }

    fn instances(&self) -> usize {
        super::MAX_CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        super::MAX_MEMORIES as usize
    }

    fn tables(&self) -> usize {
        super::MAX_TABLES as usize
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, Error> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut budget = MemoryBudget::new(1_000);
        let mut memory = |current, desired| budget.memory_growing(current, desired, None);
        assert!(memory(0, 400).is_ok_and(|fits| fits));
        assert!(memory(0, 400).is_ok_and(|fits| fits), "a second memory");
        assert!(memory(400, 700).is_ok_and(|fits| !fits), "100 over");
        assert!(budget.refused());
        assert!(budget.table_growing(0, 25, None).is_ok_and(|fits| fits), "200 bytes are left");
        assert!(budget.table_growing(25, 26, None).is_ok_and(|fits| !fits));
    }
}
