//! 100,000 envelopes that are nearly right: damaged, cut, put together of two, under another's key, and
//! sealed again after that, as a faulty node of the same truth would.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_core::name::{DocumentId, Name};

use super::testing::{Plain, key, record};
use crate::encoding::Record;
use crate::entry::Moment;
use crate::envelope::Seal;
use crate::reads::{Dependencies, Read};

const MUTANTS: usize = 100_000;
const MAX_BYTES: usize = 16 << 10;

/// Envelopes of records of several sizes, each under its own key.
fn envelopes(seal: &Seal) -> Vec<Vec<u8>> {
    let name = |text: &str| Name::new(text).unwrap();
    let reads = [
        Read::Collection(name("books")),
        Read::Document(name("books"), DocumentId::new("a").unwrap()),
        Read::Lifetime(name("books")),
    ];
    let values = ["", "short", &"the same words again and again. ".repeat(100)];
    let record = |value: &&str| Record {
        depends_on: Dependencies::new(reads.iter().cloned().collect(), Vec::new()),
        ..record(value.as_bytes())
    };
    let encoded =
        values.iter().map(|value| record(value).encode(Moment::now(), MAX_BYTES).unwrap());
    encoded.enumerate().map(|(number, content)| seal.close(&key(number as u8), &content)).collect()
}

/// Changes some bytes as a disk, a network or a program may.
fn mutate(random: &mut StdRng, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            2 => bytes.extend((0..random.random_range(1..64)).map(|_| random.random::<u8>())),
            3 => {
                let other = &others[random.random_range(0..others.len())];
                let from = at.min(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 if at + 8 <= bytes.len() => {
                // A number that is far too large, or zero.
                let number = *[0, 1, u64::from(u32::MAX), u64::MAX].get(at % 4).unwrap();
                bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            _ if at < bytes.len() => bytes[at] ^= random.random_range(1..=u8::MAX),
            _ => {}
        }
    }
}

#[test]
fn what_was_changed_is_not_opened_and_a_faulty_node_harms_nobody() {
    let seal = Seal::new([1; 16], &[2; 32]);
    let originals = envelopes(&seal);
    let mut random = StdRng::seed_from_u64(1);
    let (mut changed, mut decoded, mut refused) = (0, 0, 0);
    for _ in 0..MUTANTS {
        let number = random.random_range(0..originals.len());
        let mut mutant = originals[random.random_range(0..originals.len())].clone();
        mutate(&mut random, &mut mutant, &originals);
        if mutant != originals[number] {
            changed += 1;
            assert!(seal.open(&key(number as u8), &mutant, MAX_BYTES).is_err(), "{mutant:?}");
        }
        // The node has the secret, so only what it wrote can be wrong. It says how long a content is,
        // what it read and for how long it lives, and none of this may lead to more than a miss.
        let resealed = seal.reseal(&mutant);
        let Ok(content) = seal.open(&key(number as u8), &resealed, MAX_BYTES) else { continue };
        assert!(content.len() <= MAX_BYTES);
        match Record::<Plain>::decode(&content, MAX_BYTES, Moment::now()) {
            Ok(_) => decoded += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        changed > MUTANTS / 2 && decoded > 100 && refused > 100,
        "{changed} {decoded} {refused}"
    );
}
