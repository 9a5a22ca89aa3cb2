//! The inputs that fuzzing begins with, in `host/cache/fuzz/corpus/TARGET/`: those below, and those that
//! were found later and kept. All of them are checked here, without libFuzzer.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use weir_core::name::{DocumentId, Name};
use weir_core::{Chain, Commit};

use super::*;
use crate::lifetime::Lifetime;
use crate::reads::{Dependencies, FragmentKey, Read, Text};
use crate::tag::Tag;

/// What the file of an input holds, and how far it comes.
type Seeds = BTreeMap<&'static str, (Vec<u8>, Reached)>;

type Check = fn(&[u8]) -> Reached;

const MAC_BYTES: usize = 32;
const KEPT_AS_AT: usize = 54;
const LENGTH_AT: usize = 55;
const CONTENT_AT: usize = 59;
const AGE_AT: usize = 32;
const READS_AT: usize = 133;

fn reads() -> [Read; 8] {
    let name = |text| Name::new(text).unwrap();
    let text = |text| Text::new(text).unwrap();
    [
        Read::Collection(name("books")),
        Read::Document(name("books"), DocumentId::new("a:b/ä").unwrap()),
        Read::Table(name("sales"), text("public.orders")),
        Read::BucketKey(name("prices"), text("")),
        Read::Origin(name("rates")),
        Read::Fragment(FragmentKey::new(&["menu", "", "de"]).unwrap()),
        Read::Clock,
        Read::Lifetime(name("books")),
    ]
}

/// A record that is encoded two seconds after it was computed, a second before it is read.
fn record_of(value: &[u8], reads: &[Read], tags: &[&str], memory: bool) -> Vec<u8> {
    let stored_at = Moment { unix_ms: NOW_UNIX_MS - 3_000, ..Moment::now() };
    let encoded_at = Moment {
        unix_ms: NOW_UNIX_MS - 1_000,
        monotonic: stored_at.monotonic + Duration::from_secs(2),
    };
    let in_memory = Lifetime {
        refresh_after: Some(Duration::from_secs(4)),
        early_refresh_percent: 2,
        stale_while_revalidate: Duration::from_millis(3),
        stale_if_error: Duration::from_millis(4),
        stale_after_change: Duration::from_millis(5),
        ..Lifetime::of(Duration::from_secs(6))
    };
    let tags = tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
    let record = Record {
        value: Plain(value.to_vec()),
        as_of: Commit { position: Position(7), chain: Chain(0x0102_0304) },
        depends_on: Dependencies::new(reads.iter().cloned().collect(), tags),
        stored_at,
        compute: Duration::from_millis(0x0708),
        shared: Lifetime::of(Duration::from_secs(10)),
        memory: memory.then_some(in_memory),
    };
    record.encode(encoded_at, MAX_BYTES).unwrap()
}

/// Bytes with others at one place.
fn with(mut bytes: Vec<u8>, at: usize, others: &[u8]) -> Vec<u8> {
    bytes[at..at + others.len()].copy_from_slice(others);
    bytes
}

fn records() -> Seeds {
    let plain = || record_of(b"value", &[Read::Clock], &[], true);
    let text = b"the same words again and again. ".repeat(20);
    let after_reads = |rest: &[u8]| [&plain()[..READS_AT], rest].concat();
    let (cut, longer) = (plain()[..plain().len() - 1].to_vec(), [plain(), vec![0]].concat());
    let mut seeds = Seeds::from([
        ("plain", (plain(), Reached::Record)),
        ("empty-value", (record_of(b"", &[], &[], true), Reached::Record)),
        ("only-shared", (record_of(b"value", &reads()[..2], &[], false), Reached::Record)),
        ("every-read", (record_of(b"value", &reads(), &[], true), Reached::Record)),
        ("tags", (record_of(b"value", &[], &["policy:a", "b"], true), Reached::Record)),
        ("compressible", (record_of(&text, &reads()[..1], &[], true), Reached::Record)),
        ("ancient", (with(plain(), AGE_AT, &[0xff; 8]), Reached::Record)),
        ("expired", (with(plain(), AGE_AT, b"\xff\xff"), Reached::Record)),
        ("other-format", (with(plain(), 0, b"emb1"), Reached::Nothing)),
        ("cut", (cut, Reached::Nothing)),
        ("longer", (longer, Reached::Nothing)),
        ("too-many-reads", (after_reads(b"\xff\xff\x07"), Reached::Nothing)),
        ("a-read-twice", (after_reads(b"\x02\0\x07\x07\0\0\0\0\0\0"), Reached::Nothing)),
        ("too-many-tags", (after_reads(b"\0\0\xff\xff\x01\0a"), Reached::Nothing)),
        ("too-long-value", (after_reads(b"\0\0\0\0\xff\xff\xff\xffvalue"), Reached::Nothing)),
    ]);
    for (name, one) in
        ["collection", "document", "table", "bucket-key", "origin", "fragment", "clock", "lifetime"]
            .into_iter()
            .zip(reads())
    {
        seeds.insert(name, (record_of(b"", &[one], &[], false), Reached::Record));
    }
    seeds
}

fn envelopes() -> Seeds {
    let seal = Seal::new(TRUTH, &SECRET);
    let [key, other_key] = &KEYS;
    let small = record_of(b"value", &reads()[..2], &["a"], false);
    let large = record_of(&b"the same words again and again. ".repeat(20), &[], &[], true);
    let (kept, compressed) = (|| seal.close(key, &small), || seal.close(key, &large));
    let bomb = {
        let zeros = zstd::bulk::compress(&vec![0; 1 << 20], 1).unwrap();
        let length = (MAX_BYTES as u32).to_le_bytes();
        [&compressed()[..LENGTH_AT], &length, &zeros, &[0; MAC_BYTES]].concat()
    };
    let cut = compressed()[..CONTENT_AT + 20 + MAC_BYTES].to_vec();
    let spliced = [&compressed()[..CONTENT_AT], &kept()[CONTENT_AT..]].concat();
    let flipped = with(kept(), CONTENT_AT, b"T");
    let by = |truth, secret| Seal::new(truth, secret).close(key, &small);
    let stored = [
        ("stored", kept(), Reached::Record),
        ("stored-compressed", compressed(), Reached::Record),
        ("stored-under-another-key", seal.close(other_key, &small), Reached::Record),
        ("stored-with-nothing", seal.close(key, b""), Reached::Content),
        ("stored-with-another-key", with(kept(), 22, other_key.as_bytes()), Reached::Nothing),
        ("stored-by-another-truth", by([9; 16], &SECRET), Reached::Nothing),
        ("stored-with-another-secret", by(TRUTH, &[9; 32]), Reached::Nothing),
        ("stored-by-version-2", with(kept(), 4, b"\x02"), Reached::Nothing),
        ("stored-and-changed", flipped.clone(), Reached::Nothing),
        ("stored-and-cut", kept()[..kept().len() - 1].to_vec(), Reached::Nothing),
        ("stored-and-cut-early", kept()[..40].to_vec(), Reached::Nothing),
        ("stored-of-two", spliced.clone(), Reached::Nothing),
    ];
    let huge = with(compressed(), LENGTH_AT, &[0xff; 4]);
    let resealed = [
        ("resealed", compressed(), Reached::Record),
        ("resealed-with-another-key", with(kept(), 22, other_key.as_bytes()), Reached::Record),
        ("resealed-and-changed", flipped, Reached::Content),
        ("resealed-bomb", bomb, Reached::Nothing),
        ("resealed-and-too-large", seal.close(key, &[0; 1 << 20]), Reached::Nothing),
        ("resealed-with-a-huge-length", huge, Reached::Nothing),
        ("resealed-with-a-short-length", with(kept(), LENGTH_AT, b"\x01"), Reached::Nothing),
        ("resealed-as-if-compressed", with(kept(), KEPT_AS_AT, b"\x01"), Reached::Nothing),
        ("resealed-in-no-known-way", with(kept(), KEPT_AS_AT, b"\x02"), Reached::Nothing),
        ("resealed-and-cut", cut, Reached::Nothing),
        ("resealed-of-two", spliced, Reached::Nothing),
    ];
    let content = [
        ("content", record_of(b"value", &reads(), &["a"], true), Reached::Record),
        ("content-compressed", large.clone(), Reached::Record),
        ("content-that-is-no-record", b"tst1 and no more".to_vec(), Reached::Content),
    ];
    let ways = [given_as::STORED, given_as::RESEALED, given_as::CONTENT];
    ways.into_iter()
        .zip([&stored[..], &resealed, &content])
        .flat_map(|(way, seeds)| seeds.iter().map(move |seed| (way, seed)))
        .map(|(way, (name, bytes, reached))| (*name, ([&[way], &bytes[..]].concat(), *reached)))
        .collect()
}

fn targets() -> [(&'static str, Check, Seeds); 2] {
    [("envelope", envelope, envelopes()), ("record", super::record, records())]
}

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}

#[test]
fn each_seed_comes_as_far_as_it_should() {
    for (target, check, seeds) in targets() {
        for (name, (bytes, reached)) in seeds {
            assert_eq!(check(&bytes), reached, "{target}/{name}");
        }
    }
}

#[test]
fn the_corpus_has_the_seeds_and_nothing_in_it_breaks_a_rule() {
    for (target, check, seeds) in targets() {
        let files = fs::read_dir(folder(target)).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> = files.collect();
        for path in &files {
            check(&fs::read(path).unwrap());
        }
        for (name, (bytes, _)) in &seeds {
            let stored = fs::read(folder(target).join(name)).unwrap_or_default();
            assert!(
                stored == *bytes,
                "{target}/{name} is not what it should be: run `cargo test -p weir-cache \
                 write_the_seeds -- --ignored`"
            );
        }
        assert!(files.len() >= seeds.len());
    }
}

#[test]
#[ignore = "changes the sources: run it after a change of the seeds or of what they are encoded in"]
fn write_the_seeds() {
    for (target, _, seeds) in targets() {
        fs::create_dir_all(folder(target)).unwrap();
        for (name, (bytes, _)) in seeds {
            fs::write(folder(target).join(name), bytes).unwrap();
        }
    }
}
