//! The memory of guests: how much one store may use, and how much all of them together.
//!
//! [`MemoryBudget`] adds up all of a store's memories and tables (wasmtime's own `StoreLimits` limits
//! each of them separately), and takes what it hands out from [`GuestMemory`], which pipelines share by
//! the rule of [`Shares`]: a pipeline may use as much as is left for others. Out of scope: memory
//! that pools keep mapped for the next guest (`pool`).

use wasmtime::{Error, ResourceLimiter};
use weir_limits::shares::{Share, Shares};
use weir_limits::turns::AccountId;

use super::size::Shape;

/// The size of a table element on a 64-bit machine.
const TABLE_ELEMENT_BYTES: usize = 8;
/// Memory is taken from that of all guests in pieces of this size, so that few instances take more
/// than one.
const PIECE_BYTES: usize = 2 << 20;
/// The most times that memories and tables of one store grow. Each time costs a system call, which
/// nothing else bounds.
const MAX_GROWTHS: u32 = 10_000;

/// The memory that all guests share.
#[derive(Clone, Debug)]
pub struct GuestMemory(Shares<AccountId>);

/// The memory budget of one store.
#[derive(Debug)]
pub struct MemoryBudget {
    max_bytes: usize,
    used_bytes: usize,
    growths: u32,
    refused: Option<Refused>,
    memory: GuestMemory,
    account: AccountId,
    weight: usize,
    shape: &'static Shape,
    taken: Option<Share<AccountId>>,
}

/// Why memory was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The store has used up its own budget.
    Budget,
    /// It has grown too often.
    TooOften,
    /// The guests of all pipelines, or of this one, use too much at the moment.
    Crowded,
}

impl GuestMemory {
    /// So many bytes, at least one piece of 2 MiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self(Shares::new((bytes / PIECE_BYTES).max(1), 1, 0))
    }

    /// An unused budget of `max_bytes` for a store of this shape that is charged to `account`.
    #[must_use]
    pub fn budget(
        &self,
        account: AccountId,
        weight: u32,
        shape: &'static Shape,
        max_bytes: usize,
    ) -> MemoryBudget {
        MemoryBudget {
            max_bytes,
            used_bytes: 0,
            growths: 0,
            refused: None,
            memory: self.clone(),
            account,
            weight: weight as usize,
            shape,
            taken: None,
        }
    }
}

impl MemoryBudget {
    /// Whether any growth was refused, and why, which is the likely cause if the guest then traps.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.refused
    }

    fn grow(&mut self, current_bytes: usize, desired_bytes: usize) -> bool {
        let more_bytes = desired_bytes.saturating_sub(current_bytes);
        self.growths += 1;
        if self.growths > MAX_GROWTHS {
            self.refused = Some(Refused::TooOften);
            return false;
        }
        if more_bytes > self.max_bytes - self.used_bytes {
            self.refused = Some(Refused::Budget);
            return false;
        }
        if !self.take(self.used_bytes + more_bytes) {
            self.refused = Some(Refused::Crowded);
            return false;
        }
        self.used_bytes += more_bytes;
        true
    }

    /// Takes as many pieces from the memory of all guests as `bytes` need.
    fn take(&mut self, bytes: usize) -> bool {
        let pieces = bytes.div_ceil(PIECE_BYTES);
        match &mut self.taken {
            Some(taken) => {
                let more = pieces.saturating_sub(taken.units());
                more == 0 || taken.try_grow(more)
            }
            None if pieces == 0 => true,
            None => {
                self.taken = self.memory.0.try_take(&self.account, self.weight, pieces);
                self.taken.is_some()
            }
        }
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
        self.shape.core_instances as usize
    }

    fn memories(&self) -> usize {
        self.shape.memories as usize
    }

    fn tables(&self) -> usize {
        self.shape.tables as usize
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
    use weir_limits::turns::Turns;

    use super::*;
    use crate::engine::size::Size;

    fn accounts() -> [AccountId; 2] {
        let mut turns = Turns::<()>::default();
        let group = turns.add_group(1);
        [(); 2].map(|()| turns.add_account(group, 1))
    }

    fn of(memory: &GuestMemory, account: AccountId, max_bytes: usize) -> MemoryBudget {
        memory.budget(account, 1, Size::Small.shape(), max_bytes)
    }

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut budget = of(&GuestMemory::new(PIECE_BYTES), accounts()[0], 1_000);
        let mut memory = |current, desired| budget.memory_growing(current, desired, None);
        assert!(memory(0, 400).is_ok_and(|fits| fits));
        assert!(memory(0, 400).is_ok_and(|fits| fits), "a second memory");
        assert!(memory(400, 700).is_ok_and(|fits| !fits), "100 over");
        assert_eq!(budget.refused(), Some(Refused::Budget));
        assert!(budget.table_growing(0, 25, None).is_ok_and(|fits| fits), "200 bytes are left");
        assert!(budget.table_growing(25, 26, None).is_ok_and(|fits| !fits));
    }

    #[test]
    fn a_pipeline_leaves_memory_for_others_and_gives_it_back() {
        let memory = GuestMemory::new(8 * PIECE_BYTES);
        let [one, other] = accounts();
        let mut greedy = of(&memory, one, usize::MAX);
        assert!(greedy.grow(0, 1));
        assert!(greedy.grow(1, 4 * PIECE_BYTES));
        assert!(!greedy.grow(4 * PIECE_BYTES, 4 * PIECE_BYTES + 1));
        assert_eq!(greedy.refused(), Some(Refused::Crowded));
        assert!(of(&memory, other, usize::MAX).grow(0, 4 * PIECE_BYTES));
        drop(greedy);
        assert!(of(&memory, one, usize::MAX).grow(0, 8 * PIECE_BYTES));
    }

    #[test]
    fn a_store_does_not_grow_without_end_in_small_steps() {
        let mut budget = of(&GuestMemory::new(PIECE_BYTES), accounts()[0], 1 << 20);
        let grown = (0..100_000).take_while(|bytes| budget.grow(*bytes, *bytes + 1)).count();
        assert_eq!(grown, MAX_GROWTHS as usize);
        assert_eq!(budget.refused(), Some(Refused::TooOften));
    }
}
