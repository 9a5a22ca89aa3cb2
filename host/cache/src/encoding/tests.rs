//! Tables of cases, a golden entry, and damaged bytes.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::plain::Plain;
use super::*;

const MAX_BYTES: usize = 1 << 20;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn one_of_each_kind() -> [Read; 8] {
    [
        Read::Collection(name("books")),
        Read::Document(name("books"), DocumentId::new("a:b/ä").unwrap()),
        Read::Table(name("sales"), Text::new("public.orders").unwrap()),
        Read::BucketKey(name("prices"), Text::new("").unwrap()),
        Read::Origin(name("rates")),
        Read::Fragment(FragmentKey::new(&["menu", "", "de"]).unwrap()),
        Read::Clock,
        Read::Lifetime(name("books")),
    ]
}

const AS_OF: Commit = Commit { position: Position(7), chain: Chain(0x0102_0304) };

fn record(reads: &[Read], added_tags: &[&str], stored_at: Moment) -> Record<Plain> {
    let tags = added_tags.iter().map(|tag| Tag::new(tag).unwrap()).collect();
    Record {
        value: Plain(b"value".to_vec()),
        as_of: AS_OF,
        depends_on: Dependencies::new(reads.iter().cloned().collect(), tags),
        stored_at,
        compute: Duration::from_millis(0x0708),
        shared: Lifetime::of(Duration::from_secs(10)),
        memory: Some(Lifetime {
            refresh_after: Some(Duration::from_millis(1)),
            early_refresh_percent: 2,
            stale_while_revalidate: Duration::from_millis(3),
            stale_if_error: Duration::from_millis(4),
            stale_after_change: Duration::from_millis(5),
            ..Lifetime::of(Duration::from_secs(60))
        }),
    }
}

fn later(moment: Moment, ms: u64) -> Moment {
    let monotonic = moment.monotonic + Duration::from_millis(ms);
    Moment { monotonic, unix_ms: moment.unix_ms + ms }
}

fn encoded(record: &Record<Plain>, now: Moment) -> Vec<u8> {
    record.encode(now, MAX_BYTES).unwrap()
}

fn decoded(bytes: &[u8], now: Moment) -> Result<Record<Plain>, DecodeError> {
    Record::decode(bytes, MAX_BYTES, now)
}

#[test]
fn the_format_stays_as_it_is() {
    let stored_at = Moment { unix_ms: 0x0102_0304_0506, ..Moment::now() };
    let reads = [one_of_each_kind()[0].clone(), one_of_each_kind()[5].clone()];
    let bytes = encoded(&record(&reads, &["policy:a"], stored_at), later(stored_at, 2_000));
    let golden = [
        b"tst1".as_slice(),
        b"\x07\0\0\0\0\0\0\0\x04\x03\x02\x01",
        b"\x06\x05\x04\x03\x02\x01\0\0",
        b"\xd6\x0c\x04\x03\x02\x01\0\0",
        b"\xd0\x07\0\0\0\0\0\0",
        b"\x08\x07\0\0\0\0\0\0",
        b"\x10\x27\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\0\0",
        &[0; 24],
        b"\x01\x60\xea\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0",
        b"\x03\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0",
        b"\x02\0\x01\x05\0books\x06\x03\x04\0menu\0\0\x02\0de",
        b"\x01\0\x08\0policy:a",
        b"\x05\0\0\0value",
    ];
    assert_eq!(bytes, golden.concat());
}

#[test]
fn an_entry_keeps_its_age_and_its_dependencies() {
    let stored_at = Moment::now();
    let written = record(&one_of_each_kind(), &["policy:a", "policy:b"], stored_at);
    let bytes = encoded(&written, later(stored_at, 3_000));
    let now = later(stored_at, 4_500);
    let table = TagTable::new(64, Position(3));
    let read = decoded(&bytes, now).unwrap();
    assert_eq!(read.as_of, AS_OF);
    let read = read.promote(&table, now);

    assert_eq!(read.value, written.value);
    assert_eq!((read.as_of, read.weight_bytes), (AS_OF, 5));
    assert_eq!(read.depends_on, written.depends_on);
    assert_eq!(read.depends_on.reads().len(), 8);
    assert_eq!((read.stored_at, read.compute), (written.stored_at, written.compute));
    let in_memory = written.memory.unwrap();
    let refresh_after = Some(Duration::from_millis(4_501));
    let expected = Lifetime { ttl: written.shared.ttl, refresh_after, ..in_memory };
    assert_eq!(read.lifetime, expected);
    assert_eq!(read.remaining_ttl(now.monotonic), Duration::from_millis(5_500));
    // Every read and every tag has a cell, and each of them invalidates the entry.
    let tags = read.depends_on.tags();
    assert_eq!((tags.len(), read.reads.len()), (10, 10));
    for tag in tags {
        let table = TagTable::new(64, Position(3));
        let read = decoded(&bytes, now).unwrap().promote(&table, now);
        assert!(read.is_valid(&table));
        table.record(&tag, Position(8));
        assert!(!read.is_valid(&table), "{tag}");
    }
}

#[test]
fn no_clock_gives_an_entry_more_time() {
    let stored_at = Moment { unix_ms: 1_000_000, ..Moment::now() };
    let written = record(&[], &[], stored_at);
    let bytes = encoded(&written, later(stored_at, 4_000));
    // The reader's wall clock, and what may remain of 6 s by it.
    for (unix_ms, remaining_ms) in [
        (0, 6_000),
        (900_000, 6_000),
        (1_004_000, 6_000),
        (1_005_000, 5_000),
        (1_010_000, 0),
        (1_900_000, 0),
    ] {
        let now = Moment { unix_ms, ..Moment::now() };
        let read = decoded(&bytes, now).unwrap();
        let entry = read.promote(&TagTable::new(8, Position(0)), now);
        let remaining = entry.remaining_ttl(now.monotonic);
        assert_eq!(remaining, Duration::from_millis(remaining_ms), "at {unix_ms}");
        assert_eq!(entry.is_fresh(now.monotonic), remaining_ms > 0);
    }
    // Repeated encoding rounds the remaining time down.
    let odd = Moment { monotonic: stored_at.monotonic + Duration::from_nanos(1), ..stored_at };
    let read = decoded(&encoded(&written, odd), odd).unwrap();
    let entry = read.promote(&TagTable::new(8, Position(0)), odd);
    assert_eq!(entry.age(odd.monotonic).as_millis(), 1);
}

#[test]
fn a_memory_tier_keeps_an_entry_for_its_own_ttl_at_most() {
    let stored_at = Moment::now();
    let table = TagTable::new(8, Position(0));
    for (age_ms, memory_ms, remaining_ms) in
        [(0, 60_000, 10_000), (0, 4_000, 4_000), (7_000, 4_000, 3_000), (7_000, 2_000, 2_000)]
            .into_iter()
            .chain([(10_000, 4_000, 0), (7_000, u64::MAX, 3_000)])
    {
        let memory = Some(Lifetime::of(Duration::from_millis(memory_ms)));
        let record = Record { memory, ..record(&[], &[], stored_at) };
        let now = later(stored_at, age_ms);
        let entry = record.promote(&table, now);
        let remaining = Duration::from_millis(remaining_ms);
        assert_eq!(entry.remaining_ttl(now.monotonic), remaining, "{age_ms}, {memory_ms}");
    }
}

#[test]
fn what_has_expired_is_as_stale_in_memory_as_in_the_shared_tier() {
    let stored_at = Moment::now();
    let (s, table) = (Duration::from_secs, TagTable::new(8, Position(0)));
    let shared = Lifetime { stale_if_error: s(20), ..Lifetime::of(s(10)) };
    let memory = Some(Lifetime { stale_while_revalidate: s(40), ..Lifetime::of(s(60)) });
    for (age_ms, expected) in [
        (9_000, Lifetime { ttl: s(10), stale_while_revalidate: s(40), ..Lifetime::of(s(10)) }),
        (10_000, shared),
        (25_000, shared),
    ] {
        let record = Record { shared, memory, ..record(&[], &[], stored_at) };
        let entry = record.promote(&table, later(stored_at, age_ms));
        assert_eq!(entry.lifetime, expected, "{age_ms}");
    }
}

#[test]
fn a_record_that_cannot_be_encoded_is_an_error() {
    let now = Moment::now();
    let error = |record: &Record<Plain>| record.encode(now, MAX_BYTES).unwrap_err();
    let numbered = |number: usize| Read::Collection(name(&number.to_string()));

    let full: Vec<_> = (0..ReadSet::MAX_READS).map(numbered).collect();
    assert!(decoded(&encoded(&record(&full, &[], now), now), now).is_ok());
    let overfull: Vec<_> = (0..=ReadSet::MAX_READS).map(numbered).collect();
    assert_eq!(error(&record(&overfull, &[], now)), EncodeError::IncompleteReads);

    let tags = vec!["t"; MAX_ADDED_TAGS];
    assert!(decoded(&encoded(&record(&[], &tags, now), now), now).is_ok());
    let tags = vec!["t"; MAX_ADDED_TAGS + 1];
    assert_eq!(error(&record(&[], &tags, now)), EncodeError::TooManyTags { tags: 1025 });

    let small = record(&[], &[], now);
    let size = encoded(&small, now).len();
    assert!(small.encode(now, size).is_ok());
    let refused = EncodeError::TooLarge { what: "the record", size, max: size - 1 };
    assert_eq!(small.encode(now, size - 1), Err(refused));
    assert!(put_short(&mut Vec::new(), "a name", &[0; 65_535]).is_ok());
    assert!(put_short(&mut Vec::new(), "a name", &[0; 65_536]).is_err());
}

#[test]
fn bytes_that_no_writer_writes_are_an_error() {
    const FORMAT_AT: usize = 0;
    const AGE_AT: usize = 32;
    const IN_MEMORY_AT: usize = 90;
    const READS_AT: usize = 133;
    let now = Moment::now();
    let bytes = encoded(&record(&[Read::Clock], &[], now), now);
    let error = |bytes: &[u8]| decoded(bytes, now).unwrap_err();
    let changed = |at: usize, to: &[u8]| {
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        error(&changed)
    };
    // The same entry with other reads, tags and value.
    let with = |rest: &[u8]| error(&[&bytes[..READS_AT], rest].concat());
    const NO_TAGS_NO_VALUE: &[u8] = b"\0\0\0\0\0\0";

    assert_eq!(error(b""), DecodeError::Truncated);
    assert_eq!(changed(FORMAT_AT, b"tst2"), DecodeError::Format { found: *b"tst2" });
    let whether = DecodeError::Invalid("whether a memory tier keeps it");
    assert_eq!(changed(IN_MEMORY_AT, b"\x02"), whether);
    // Some systems have no instant that long ago, and on others the entry is no longer fresh.
    let mut ancient = bytes.clone();
    ancient[AGE_AT..AGE_AT + 8].copy_from_slice(&[0xff; 8]);
    match decoded(&ancient, now) {
        Ok(read) => {
            let entry = read.promote(&TagTable::new(8, Position(0)), now);
            assert!(!entry.is_fresh(now.monotonic));
        }
        Err(error) => assert_eq!(error, DecodeError::Invalid("the age")),
    }

    let invalid = DecodeError::Invalid;
    for (reads, refused) in [
        (&b"\x01\0\x09"[..], invalid("the kind of a read")),
        (b"\x01\0\x00", invalid("the kind of a read")),
        (b"\x01\0\x01\x01\0A", invalid("a name")),
        (b"\x01\0\x01\0\0", invalid("a name")),
        (b"\x01\0\x01\x01\0\xff", invalid("a text")),
        (b"\x01\0\x02\x01\0a\x01\0\n", invalid("a document's id")),
        (b"\x01\0\x06\0", invalid("a fragment's key")),
        (b"\x01\0\x06\x09", invalid("a fragment's key")),
        (b"\x02\0\x07\x07", invalid("the read set")),
        (b"\x02\0\x07", invalid("the kind of a read")),
        (b"\0\0\x01\0\0\0", invalid("a tag")),
        (b"\0\0\xff\xff", invalid("the number of tags")),
    ] {
        assert_eq!(with(&[reads, NO_TAGS_NO_VALUE].concat()), refused, "{reads:x?}");
    }
    let long = [&b"\x01\0\x03\x01\0a\x01\x02"[..], &[b'a'; 513], NO_TAGS_NO_VALUE].concat();
    assert_eq!(with(&long), invalid("a name"));
    // 1,025 reads, as their count says.
    let many = (0..1025).flat_map(|number| {
        let number = format!("{number:04}");
        [&b"\x01\x04\0"[..], number.as_bytes()].concat()
    });
    let many = [b"\x01\x04".to_vec(), many.collect(), NO_TAGS_NO_VALUE.to_vec()].concat();
    assert_eq!(with(&many), invalid("the read set"));
    assert_eq!(with(b"\0\0\0\0\xff\xff\xff\xff"), DecodeError::Truncated);
    assert_eq!(with(b"\0\0\0\0\0\0\0\0x"), DecodeError::TrailingBytes);

    let refused = DecodeError::TooLarge { bytes: bytes.len(), max_bytes: bytes.len() - 1 };
    assert_eq!(Record::<Plain>::decode(&bytes, bytes.len() - 1, now).unwrap_err(), refused);
}

fn reads() -> impl Strategy<Value = Vec<Read>> {
    let name = || "[a-z0-9][a-z0-9._-]{0,63}".prop_map(|text| Name::new(&text).unwrap());
    let text = || ".{0,20}".prop_map(|text| Text::new(&text).unwrap());
    let id = "[^\\p{C}]{1,20}".prop_map(|text| DocumentId::new(&text).unwrap());
    let key = prop::collection::vec(".{0,8}", 1..=8).prop_map(|parts| {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        FragmentKey::new(&parts).unwrap()
    });
    let read = prop_oneof![
        name().prop_map(Read::Collection),
        (name(), id).prop_map(|(collection, id)| Read::Document(collection, id)),
        (name(), text()).prop_map(|(database, table)| Read::Table(database, table)),
        (name(), text()).prop_map(|(bucket, key)| Read::BucketKey(bucket, key)),
        name().prop_map(Read::Lifetime),
        name().prop_map(Read::Origin),
        key.prop_map(Read::Fragment),
        Just(Read::Clock),
    ];
    prop::collection::vec(read, 0..6)
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    let ms = || any::<u64>().prop_map(Duration::from_millis);
    // All bits set mean that there is none.
    let refresh_after = prop::option::of((0..u64::MAX).prop_map(Duration::from_millis));
    (ms(), refresh_after, any::<u16>(), [ms(), ms(), ms()]).prop_map(
        |(ttl, refresh_after, early_refresh_percent, [revalidate, error, change])| Lifetime {
            ttl,
            refresh_after,
            early_refresh_percent,
            stale_while_revalidate: revalidate,
            stale_if_error: error,
            stale_after_change: change,
        },
    )
}

/// A record with its bytes, and the moment of both encoding and decoding.
fn records() -> impl Strategy<Value = (Record<Plain>, Vec<u8>, Moment)> {
    let tags = prop::collection::vec(".{1,20}", 0..3);
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let as_of = (any::<u64>(), any::<u32>());
    let lifetimes = (lifetime(), prop::option::of(lifetime()));
    (reads(), tags, value, as_of, 0..100_000_u64, lifetimes).prop_map(
        |(reads, tags, value, (position, chain), age_ms, (shared, memory))| {
            let stored_at = Moment::now();
            let tags: Vec<_> = tags.iter().map(String::as_str).collect();
            let record = Record {
                value: Plain(value),
                as_of: Commit { position: Position(position), chain: Chain(chain) },
                shared,
                memory,
                ..record(&reads, &tags, stored_at)
            };
            let now = later(stored_at, age_ms);
            let bytes = encoded(&record, now);
            (record, bytes, now)
        },
    )
}

proptest! {
    #[test]
    fn records_survive_encoding((record, bytes, now) in records()) {
        let read = decoded(&bytes, now).unwrap();
        prop_assert_eq!(&read.value, &record.value);
        prop_assert_eq!(read.as_of, record.as_of);
        prop_assert_eq!(&read.depends_on, &record.depends_on);
        prop_assert_eq!((read.stored_at, read.compute), (record.stored_at, record.compute));
        prop_assert_eq!((read.shared, read.memory), (record.shared, record.memory));
        prop_assert_eq!(encoded(&read, now), bytes);
    }

    #[test]
    fn every_truncation_is_an_error((_, bytes, now) in records()) {
        for length in 0..bytes.len() {
            prop_assert_eq!(decoded(&bytes[..length], now).unwrap_err(), DecodeError::Truncated);
        }
    }

    /// An error, or another record that survives encoding.
    #[test]
    fn every_flipped_byte_is_an_error_or_another_record(
        (_, bytes, now) in records(),
        flip in 1..=u8::MAX,
    ) {
        // A record that claims to have been encoded in the future is the same record.
        let encoded_at = 24..32;
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            if let Ok(read) = decoded(&flipped, now) {
                let again = encoded(&read, now);
                prop_assert!(again != bytes || encoded_at.contains(&at));
                prop_assert!(decoded(&again, now).is_ok());
            }
        }
    }

    #[test]
    fn any_bytes_are_accepted_or_refused(
        rest in prop::collection::vec(any::<u8>(), 0..200),
        header in prop::bool::ANY,
    ) {
        let bytes = if header { [b"tst1".as_slice(), &rest].concat() } else { rest };
        let _ = decoded(&bytes, Moment::now());
    }
}
