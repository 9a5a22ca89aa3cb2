//! The tables of the file, and what goes when something is written.
//!
//! Envelopes by key, and two orders in which they go. The oldest go first when the file has reached its
//! size, whether they are used or not; and those whose ttl has passed go whenever something is written. So
//! a write costs the same, however much is stored.

use redb::{
    ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition,
    TableError, WriteTransaction,
};

use crate::CacheKey;
use crate::entry::whole_ms;
use crate::tier::{Contents, Envelope};

/// The format of the file. It is part of the tables' names: another release finds them empty.
pub(super) const ENVELOPES: TableDefinition<'_, &[u8; 32], (u64, u64, &[u8])> =
    TableDefinition::new("envelopes-1");
/// From the sequence of its write to an envelope's key, and what it takes.
pub(super) const BY_AGE: TableDefinition<'_, u64, (&[u8; 32], u64)> =
    TableDefinition::new("by-age-1");
/// By the time at which it is over, in milliseconds since 1970, and its sequence.
pub(super) const BY_EXPIRY: TableDefinition<'_, (u64, u64), ()> =
    TableDefinition::new("by-expiry-1");
/// Numbers by name.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers-1");
/// What all envelopes take.
pub(super) const BYTES: &str = "bytes";

/// What an envelope is taken to need: redb's pages are 4 KiB times a power of two, and a page in each
/// of the other tables has about sixty rows. Files of 20,000 envelopes of 1, 2, 4 and 7 kB took 0.8, 1.6,
/// 0.8 and 1.6 times this, because a file grows by doubling.
pub(super) fn charged(bytes: usize) -> u64 {
    const PAGE_BYTES: usize = 4 << 10;
    const ROW_BYTES: usize = 64;
    const OTHER_TABLES_BYTES: usize = 256;
    let pages = (bytes + ROW_BYTES).next_power_of_two().max(PAGE_BYTES);
    (pages + OTHER_TABLES_BYTES) as u64
}

/// The most envelopes that go in one write because their ttl has passed.
pub(super) const EXPIRED_AT_ONCE: usize = 256;

/// Writes `envelopes`, and removes what goes then, so that the rest takes at most `max_bytes`. Returns what is
/// then in the tables.
pub(super) fn write(
    transaction: &WriteTransaction,
    envelopes: &[Envelope],
    now_ms: u64,
    max_bytes: u64,
) -> Result<Contents, redb::Error> {
    let mut numbers = transaction.open_table(NUMBERS)?;
    let mut tables = Tables {
        envelopes: transaction.open_table(ENVELOPES)?,
        by_age: transaction.open_table(BY_AGE)?,
        by_expiry: transaction.open_table(BY_EXPIRY)?,
        bytes: numbers.get(BYTES)?.map_or(0, |bytes| bytes.value()),
    };
    for envelope in envelopes {
        tables.insert(envelope, now_ms)?;
    }
    tables.expire(now_ms)?;
    tables.evict(max_bytes)?;
    numbers.insert(BYTES, tables.bytes)?;
    Ok(Contents { entries: tables.envelopes.len()?, bytes: tables.bytes })
}

/// What is in the tables.
pub(super) fn contents(transaction: &ReadTransaction) -> Result<Contents, redb::Error> {
    let (envelopes, numbers) =
        match (transaction.open_table(ENVELOPES), transaction.open_table(NUMBERS)) {
            // Nothing was written yet.
            (Err(TableError::TableDoesNotExist(_)), _) => return Ok(Contents::default()),
            (envelopes, numbers) => (envelopes?, numbers?),
        };
    let bytes = numbers.get(BYTES)?.map_or(0, |bytes| bytes.value());
    Ok(Contents { entries: envelopes.len()?, bytes })
}

/// The envelopes under these keys.
pub(super) fn read(
    transaction: &ReadTransaction,
    keys: &[CacheKey],
) -> Result<Vec<Option<Vec<u8>>>, redb::Error> {
    let table = match transaction.open_table(ENVELOPES) {
        Ok(table) => table,
        // Nothing was written yet.
        Err(TableError::TableDoesNotExist(_)) => return Ok(vec![None; keys.len()]),
        Err(error) => return Err(error.into()),
    };
    let read = |key: &CacheKey| {
        let found = table.get(key.as_bytes())?;
        Ok(found.map(|found| found.value().2.to_vec()))
    };
    keys.iter().map(read).collect()
}

struct Tables<'t> {
    envelopes: Table<'t, &'static [u8; 32], (u64, u64, &'static [u8])>,
    by_age: Table<'t, u64, (&'static [u8; 32], u64)>,
    by_expiry: Table<'t, (u64, u64), ()>,
    bytes: u64,
}

impl Tables<'_> {
    fn insert(&mut self, envelope: &Envelope, now_ms: u64) -> Result<(), redb::Error> {
        let key = envelope.key.as_bytes();
        self.remove(key)?;
        let sequence = self.by_age.last()?.map_or(0, |(sequence, _)| sequence.value() + 1);
        let expiry_ms = now_ms.saturating_add(whole_ms(envelope.ttl));
        let size = charged(envelope.bytes.len());
        self.envelopes.insert(key, (sequence, expiry_ms, envelope.bytes.as_slice()))?;
        self.by_age.insert(sequence, (key, size))?;
        self.by_expiry.insert((expiry_ms, sequence), ())?;
        self.bytes += size;
        Ok(())
    }

    fn remove(&mut self, key: &[u8; 32]) -> Result<(), redb::Error> {
        let removed = self.envelopes.remove(key)?.map(|found| {
            let (sequence, expiry_ms, _) = found.value();
            (sequence, expiry_ms)
        });
        let Some((sequence, expiry_ms)) = removed else { return Ok(()) };
        let size = self.by_age.remove(sequence)?.map_or(0, |of| of.value().1);
        self.by_expiry.remove((expiry_ms, sequence))?;
        self.bytes = self.bytes.saturating_sub(size);
        Ok(())
    }

    /// Removes envelopes whose ttl has passed, a bounded number of them.
    fn expire(&mut self, now_ms: u64) -> Result<(), redb::Error> {
        for _ in 0..EXPIRED_AT_ONCE {
            let first = self.by_expiry.first()?.map(|(first, _)| first.value());
            let Some((expiry_ms, sequence)) = first.filter(|(expiry_ms, _)| *expiry_ms <= now_ms)
            else {
                break;
            };
            match self.key_of(sequence)? {
                Some(key) => self.remove(&key)?,
                None => drop(self.by_expiry.remove((expiry_ms, sequence))?),
            }
        }
        Ok(())
    }

    /// Removes the oldest envelopes until the rest takes at most `max_bytes`.
    fn evict(&mut self, max_bytes: u64) -> Result<(), redb::Error> {
        while self.bytes > max_bytes {
            let oldest = self.by_age.pop_first()?.map(|(sequence, of)| {
                let (key, size) = of.value();
                (sequence.value(), *key, size)
            });
            let Some((sequence, key, size)) = oldest else { break };
            self.bytes = self.bytes.saturating_sub(size);
            let expiry_ms = self.envelopes.remove(&key)?.map(|found| found.value().1);
            if let Some(expiry_ms) = expiry_ms {
                self.by_expiry.remove((expiry_ms, sequence))?;
            }
        }
        Ok(())
    }

    fn key_of(&self, sequence: u64) -> Result<Option<[u8; 32]>, redb::Error> {
        Ok(self.by_age.get(sequence)?.map(|of| *of.value().0))
    }
}
