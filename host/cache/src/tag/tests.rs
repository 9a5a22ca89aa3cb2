//! Tables of cases, a comparison with a list of commits, and threads.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Barrier, atomic::Ordering::Release},
    thread,
    time::Duration,
};

use proptest::prelude::*;

use weir_core::Commit;

use super::*;
use crate::entry::{Entry, Moment};
use crate::lifetime::Lifetime;
use crate::reads::Dependencies;

fn tag(number: usize) -> Tag {
    Tag::new(&format!("tag:{number}")).unwrap()
}

fn tags(numbers: &[usize]) -> Vec<Tag> {
    numbers.iter().copied().map(tag).collect()
}

fn of_policy(policy: &str, name: &str) -> Tag {
    Tag::of_policy(&Name::new(policy).unwrap(), name).unwrap()
}

fn entry(table: &TagTable, read: &[usize], as_of: u64) -> Entry<()> {
    Entry {
        value: (),
        as_of: Commit { position: Position(as_of), ..Commit::ZERO },
        reads: table.resolve(&tags(read)),
        depends_on: Dependencies::default(),
        stored_at: Moment::now(),
        compute: Duration::ZERO,
        lifetime: Lifetime::of(Duration::MAX),
        weight_bytes: 0,
    }
}

#[test]
fn tags_without_bound_leave_half_of_the_table_to_others() {
    let table = TagTable::new(8, Position(0));
    let entry = entry(&table, &[0, 1], 3);
    let changed = |at| Changed { last: Position(at), began: Some(Instant::now()) };
    assert!(table.try_record(&tags(&[0]), changed(3)), "which it already has");
    assert!(entry.is_valid(&table), "it is not from before");
    assert!(table.try_record(&tags(&[2, 3]), changed(4)));
    assert!(entry.is_valid(&table), "it has none of them");
    assert!(!table.try_record(&tags(&[1, 4]), changed(5)), "half of it is taken");
    assert!(table.try_record(&tags(&[0, 1, 2]), changed(6)));
    assert!(!entry.is_valid(&table));
    assert_eq!((table.len(), table.floor()), (4, Position(0)));
    let since = entry.reads.first_change_after(entry.as_of.position);
    assert!(since.is_some_and(|since| since <= Instant::now()));
}

#[test]
fn names_are_bounded() {
    let name = |bytes: usize| "é".repeat(bytes / 2);
    assert_eq!(Tag::new(""), Err(TagError::Empty));
    assert_eq!(Tag::new(&name(1024)).unwrap().as_str(), name(1024));
    assert_eq!(Tag::new(&name(1026)), Err(TagError::TooLong { bytes: 1026 }));
}

#[test]
fn what_is_within_a_collection_is_known_by_its_tag() {
    for (tag, outer) in [
        ("collection:books", None),
        ("document:books:a:b", Some("collection:books")),
        ("lifetime:books", Some("collection:books")),
        ("table:sales:orders", None),
        ("plain", None),
    ] {
        let found = Tag::new(tag).unwrap().outer();
        assert_eq!(found.as_ref().map(Tag::as_str), outer, "{tag}");
    }
}

#[test]
fn changes_in_any_order_are_not_lost() {
    let table = TagTable::new(8, Position(0));
    let [changed, unchanged] = [entry(&table, &[0], 0), entry(&table, &[2], 0)];
    table.record(&tag(1), Position(2));
    table.record(&tag(0), Position(1));
    assert_eq!([changed, unchanged].map(|entry| entry.is_valid(&table)), [false, true]);
    let at_two = entry(&table, &[0, 1], 2);
    table.record(&tag(1), Position(1));
    assert!(at_two.is_valid(&table));
}

#[test]
fn a_document_that_nobody_holds_takes_no_room_and_loses_no_change() {
    let table = TagTable::new(8, Position(0));
    let [books, one, two] = ["collection:books", "document:books:1", "document:books:2"]
        .map(|tag| Tag::new(tag).unwrap());
    let of = |tag: &Tag, as_of| Entry {
        reads: table.resolve(std::slice::from_ref(tag)),
        ..entry(&table, &[], as_of)
    };
    let held = of(&one, 3);
    let changes = [(one.clone(), Position(5)), (two.clone(), Position(4))];
    let changed = |last| Changed { last: Position(last), began: Some(Instant::now()) };
    table.record_within(&books, changed(5), changes.into_iter());
    assert_eq!(table.len(), 2);
    assert!(!held.is_valid(&table));
    // It changed at 4, but the table only knows that it has not changed after 5.
    assert_eq!([of(&two, 4), of(&two, 5)].map(|entry| entry.is_valid(&table)), [false, true]);
    table.record_within(&books, changed(7), [(one.clone(), Position(7))].into_iter());
    assert_eq!([of(&one, 6), of(&two, 5)].map(|entry| entry.is_valid(&table)), [false, true]);
}

#[test]
fn a_full_table_evicts_what_changed_longest_ago() {
    let table = TagTable::new(3, Position(0));
    let held = entry(&table, &[0], 3);
    for at in 1..=3 {
        table.record(&tag(at), Position(at as u64));
    }
    // Tag 0 has never changed, so it goes first, and its entry with it.
    assert!(!held.is_valid(&table));
    assert_eq!((table.len(), table.floor().0), (3, 0));

    table.record(&tag(4), Position(4));
    assert_eq!((table.len(), table.floor().0), (3, 1));
    table.record(&tag(2), Position(5));
    table.record(&tag(5), Position(6));
    assert_eq!((table.len(), table.floor().0), (3, 3));

    // An entry of an evicted tag stays invalid when the tag gets a new cell.
    assert!(!held.is_valid(&table));
    let again = entry(&table, &[0], 6);
    assert!(!held.is_valid(&table));
    assert!(again.is_valid(&table));
}

#[test]
fn among_equal_tags_those_that_no_entry_holds_go_first() {
    let table = TagTable::new(4, Position(0));
    let held = [0, 1].map(|number| entry(&table, &[number], 0));
    drop([2, 3].map(|number| entry(&table, &[number], 0)));
    let more = [4, 5].map(|number| entry(&table, &[number], 0));
    assert!(held.iter().chain(&more).all(|entry| entry.is_valid(&table)));
    assert_eq!((table.len(), table.floor().0), (4, 0));
}

/// However many a policy adds, an entry that has none of them is not affected, and the table stays
/// within its capacity.
#[test]
fn tags_of_policies_go_before_those_of_the_host() {
    let table = TagTable::new(16, Position(0));
    let hosts = [0, 1].map(|number| entry(&table, &[number], 7));
    // Older than the floor from now on, which the tags of policies are not.
    table.raise_floor(Position(5));
    table.record(&tag(2), Position(6));
    let added = |number: usize| {
        let tags: Vec<_> = (0..3).map(|tag| of_policy("its", &format!("{number}-{tag}"))).collect();
        Entry { reads: table.resolve(&tags), ..entry(&table, &[], 7) }
    };
    let added: Vec<_> = (0..100).map(added).collect();
    assert!(hosts.iter().all(|entry| entry.is_valid(&table)));
    assert!(entry(&table, &[2], 6).is_valid(&table));
    assert_eq!((table.len(), table.floor().0), (16, 5));
    let valid = added.iter().filter(|entry| entry.is_valid(&table)).count();
    // The three other tags leave room for those of four entries.
    assert!(valid <= 4, "{valid}");
}

/// However many one policy adds, another keeps what it has, up to its share.
#[test]
fn a_policy_with_many_tags_evicts_none_of_anothers() {
    let table = TagTable::new(64, Position(0));
    let of = |policy: &str, numbers: std::ops::Range<usize>| Entry {
        reads: table.resolve(
            &numbers.map(|number| of_policy(policy, &number.to_string())).collect::<Vec<_>>(),
        ),
        ..entry(&table, &[], 0)
    };
    let few = of("few", 0..10);
    // Its tags are held, as the others' are, or not.
    let flood: Vec<_> =
        (0..100).map(|number| of("flood", 20 * number..20 * (number + 1))).collect();
    (100..200).for_each(|number| drop(of("flood", 20 * number..20 * (number + 1))));
    assert!(few.is_valid(&table));
    assert!(!flood[0].is_valid(&table));
    // Those that want more than their share have as much of the rest.
    let (one, other) = (of("one", 0..10), of("other", 0..2_000));
    assert!(few.is_valid(&table) && one.is_valid(&table) && !other.is_valid(&table));
    assert_eq!((table.len(), table.floor().0), (64, 0));
}

#[test]
fn tags_of_two_policies_differ_under_the_same_name() {
    assert_ne!(of_policy("one", "a"), of_policy("other", "a"));
    assert_eq!(of_policy("one", "a:b").policy(), Some("one"));
    assert_eq!(Tag::of("collection", &["policy"]).policy(), None);
}

#[test]
fn an_entry_with_more_tags_than_the_capacity_is_a_miss() {
    let table = TagTable::new(2, Position(0));
    assert!(!entry(&table, &[0, 1, 2], 0).is_valid(&table));
    assert_eq!(table.len(), 2);
}

/// What a test does to a table. The numbers of tags are below [`TAGS`].
#[derive(Clone, Debug)]
enum Step {
    /// A transaction commits; its position is recorded later.
    Commit { touched: Vec<usize> },
    /// One of the unrecorded commits is recorded.
    Record { which: prop::sample::Index },
    /// An answer is computed and stored.
    Fill { read: Vec<usize>, as_of: prop::sample::Index },
}

const TAGS: usize = 6;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some_tags = || prop::collection::vec(0..TAGS, 0..3);
    let step = prop_oneof![
        some_tags().prop_map(|touched| Step::Commit { touched }),
        any::<prop::sample::Index>().prop_map(|which| Step::Record { which }),
        (some_tags(), any::<prop::sample::Index>())
            .prop_map(|(read, as_of)| Step::Fill { read, as_of }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Runs the steps, and after each one compares what the table claims with the commits.
fn compare_with_commits(steps: Vec<Step>, capacity: usize, start: u64) {
    let table = TagTable::new(capacity, Position(start));
    let mut commits = BTreeMap::<u64, Vec<usize>>::new();
    let mut unrecorded = Vec::new();
    let mut entries = Vec::<(Vec<usize>, Entry<()>)>::new();
    for step in steps {
        let last = start + commits.len() as u64;
        match step {
            Step::Commit { touched } => {
                commits.insert(last + 1, touched);
                unrecorded.push(last + 1);
            }
            Step::Record { which } if !unrecorded.is_empty() => {
                let at = unrecorded.swap_remove(which.index(unrecorded.len()));
                commits[&at].iter().for_each(|touched| table.record(&tag(*touched), Position(at)));
            }
            Step::Record { .. } => {}
            Step::Fill { read, as_of } => {
                let as_of = as_of.index(last as usize + 1) as u64;
                let entry = entry(&table, &read, as_of);
                entries.push((read, entry));
            }
        }
        assert!(table.len() <= capacity);
        for (read, entry) in &entries {
            let as_of = entry.as_of.position.0;
            let known = |at: &u64| *at > as_of && !unrecorded.contains(at);
            let mut changes = commits.iter().filter(|(at, _)| known(at));
            let changed = changes.any(|(_, touched)| touched.iter().any(|tag| read.contains(tag)));
            if entry.is_valid(&table) {
                assert!(as_of >= start, "changes up to the start are unknown");
                assert!(!changed, "{entry:?} of {read:?}");
            } else if capacity >= TAGS && as_of >= start {
                assert!(changed, "an unnecessary miss: {entry:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn an_entry_that_has_changed_is_never_valid(
        steps in steps(),
        capacity in 1..=TAGS,
        start in 0..4_u64,
    ) {
        compare_with_commits(steps, capacity, start);
    }
}

/// One thread records changes and publishes how far it is, while two more check entries: no
/// change up to a published position is overlooked.
#[test]
fn threads_never_see_a_position_without_its_changes() {
    const POSITIONS: u64 = 20_000;
    let touched = |at: u64| (at % 7) as usize;
    // There are 7 tags, so a table of 5 evicts all the time.
    for capacity in [5, 16] {
        let table = TagTable::new(capacity, Position(0));
        let (applied, barrier) = (AtomicU64::new(0), Barrier::new(3));
        thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                for at in 1..=POSITIONS {
                    table.record(&tag(touched(at)), Position(at));
                    applied.store(at, Release);
                }
            });
            for read in [1, 3] {
                let (table, barrier, applied) = (&table, &barrier, &applied);
                scope.spawn(move || {
                    barrier.wait();
                    while applied.load(Acquire) < POSITIONS {
                        let as_of = applied.load(Acquire);
                        let entry = entry(table, &[read], as_of);
                        for _ in 0..8 {
                            let exact_at = applied.load(Acquire);
                            if !entry.is_valid(table) {
                                break;
                            }
                            let change = (as_of + 1..=exact_at).find(|&at| touched(at) == read);
                            assert_eq!(change, None, "as of {as_of}, exact at {exact_at}");
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn what_is_resolved_coarsely_takes_no_room_for_what_is_within_another() {
    let table = TagTable::new(8, Position(0));
    let [books, one, other] = ["collection:books", "document:books:1", "document:books:2"]
        .map(|name| Tag::new(name).unwrap());
    drop(table.resolve(std::slice::from_ref(&one)));
    let reads = table.resolve_coarsely(&[one.clone(), other.clone()]);
    assert_eq!((reads.len(), table.len()), (2, 2), "the other is its collection");
    let changed = Changed { last: Position(5), began: None };
    table.record_within(&books, changed, std::iter::once((other, Position(5))));
    assert!(reads.changed_after(Position(4)) && !reads.first(1).changed_after(Position(4)));
    table.record_within(&books, changed, std::iter::once((one, Position(5))));
    assert!(reads.first(1).changed_after(Position(4)));
}
