//! Two policies and a few requests for each kind of candidate. Nothing waits: requests say when they begin.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use weir_bindings::policy::weir::policy::types as wit;
use weir_cache::reads::Read;
use weir_core::Position;

use self::world::{Admits, Asked, Fake, World, by_body, field, hits, name, policy, s, storage};
use super::*;
use crate::policy::apart::FailedApart;
use crate::policy::plan::Storage;
use crate::policy::{Admission, Keying, PolicyError};
use crate::request::PartsRead;
use crate::shadow::counts::Cost;
use crate::shadow::keys::Answers;

#[tokio::test]
async fn equal_policies_have_equal_hits_and_differ_in_nothing() {
    let mut world = World::new(by_body(), by_body());
    for after in 1..=3 {
        world.ask(Asked { after: s(after), ..Asked::default() }).await;
        world.ask(Asked { body: "2", answer: Some(2), after: s(after), ..Asked::default() }).await;
    }
    // A hit of the real tier, which may have begun long before.
    world.ask(Asked { ended: Ended::Hit, body: "3", after: s(4), ..Asked::default() }).await;
    let report = world.report();
    assert_eq!(hits(&report), [(4, 7); 2]);
    assert_eq!(report.keys, Keys { deployed: 3, candidate: 3, ..Keys::default() });
    assert_eq!((report.answered.misses, report.answered.hits), (6, 1));
    assert_eq!(report.candidate.cost.decisions, 0);
    assert_eq!(report.deployed.hit_ratio, report.candidate.hit_ratio);
    assert!(report.estimated_because.is_empty());
}

#[tokio::test]
async fn a_candidate_that_splits() {
    let key = vec![wit::Source::Body, wit::Source::Header("x-flavour".to_owned())];
    let mut world = World::new(by_body(), policy(key, storage(60_000, &[])));
    for (after, flavour) in [(1, "salt"), (2, "sweet"), (3, "salt"), (4, "sour")] {
        world.ask(Asked { flavour: Some(flavour), after: s(after), ..Asked::default() }).await;
    }
    let report = world.report();
    assert_eq!(hits(&report), [(3, 4), (1, 4)]);
    let Keys { deployed, candidate, split, split_into, merged, .. } = report.keys;
    assert_eq!((deployed, candidate, split, split_into, merged), (1, 3, 1, 3, 0));
    let example = &report.keys.split_examples[0];
    assert_eq!(example.parts[0].part, "body");
    let flavour = |index: usize| example.others[index][1].text.as_deref();
    assert_eq!((flavour(0), flavour(1)), (Some("salt"), Some("sweet")));
    assert_eq!(example.others[0][1].part, "header x-flavour");
}

#[tokio::test]
async fn a_candidate_that_merges_equal_and_different_answers() {
    let bodies = [r#"{"q":"a","user":1}"#, r#"{"q":"a","user":2}"#];
    for (second, expected, other_answers) in [(1, Answers::Same, 0), (2, Answers::Different, 1)] {
        let mut world = World::new(by_body(), policy(vec![field("/q")], storage(60_000, &[])));
        world.ask(Asked { body: bodies[0], after: s(1), ..Asked::default() }).await;
        let asked =
            Asked { body: bodies[1], answer: Some(second), after: s(2), ..Asked::default() };
        world.ask(asked).await;
        let report = world.report();
        assert_eq!(hits(&report), [(0, 2), (1, 2)]);
        let Keys { merged, merged_into, merged_different, ref merge_examples, .. } = report.keys;
        assert_eq!((merged, merged_into, merged_different), (2, 1, other_answers));
        assert_eq!((merge_examples[0].answers, report.other_answers), (expected, other_answers));
        assert_eq!(merge_examples[0].parts[0].part, "json-field /q");
        assert_eq!(merge_examples[0].others[1][0].text.as_deref(), Some(bodies[1]));
    }
}

#[tokio::test]
async fn a_candidate_that_does_not_cover_what_is_read_stores_nothing() {
    let header = || vec![wit::Source::Body, wit::Source::Header("x-flavour".to_owned())];
    let mut world = World::new(policy(header(), storage(60_000, &[])), by_body());
    let read = PartsRead { headers: ["x-flavour".to_owned()].into(), ..PartsRead::default() };
    for parts in [Some(read), None] {
        for after in [1, 2] {
            let flavour = Some(if parts.is_some() { "salt" } else { "sweet" });
            let parts = parts.clone();
            world.ask(Asked { flavour, parts, after: s(after), ..Asked::default() }).await;
        }
    }
    let report = world.report();
    assert_eq!(hits(&report), [(2, 4), (0, 4)]);
    let not_stored = &report.candidate.not_stored;
    assert_eq!((not_stored["read-outside-key"], not_stored["unknown"]), (2, 2));
}

#[tokio::test]
async fn a_candidate_that_shortens() {
    let mut world = World::new(by_body(), policy(vec![wit::Source::Body], storage(1_500, &[])));
    for after in 1..=4 {
        world.ask(Asked { after: s(after), ..Asked::default() }).await;
    }
    let report = world.report();
    assert_eq!(hits(&report), [(3, 4), (2, 4)]);
    let ttl = |side: &Simulated| side.ttl_ms.map(|ttl| (ttl.min, ttl.median, ttl.max));
    assert_eq!(ttl(&report.deployed), Some((60_000, 60_000, 60_000)));
    assert_eq!(ttl(&report.candidate), Some((1_500, 1_500, 1_500)));
    assert_eq!(report.candidate.stored, 2);
}

#[tokio::test]
async fn a_candidate_that_refuses() {
    let refuses: Admits = |outcome| match outcome.body_bytes {
        10 => Ok(Admission::DoNotStore("10 bytes are too many".to_owned())),
        _ => unreachable!("each answer has as many"),
    };
    let mut world = World::new(by_body(), Fake { admission: Some(refuses), ..by_body() });
    for after in 1..=3 {
        world.ask(Asked { after: s(after), ..Asked::default() }).await;
    }
    let report = world.report();
    assert_eq!(hits(&report), [(2, 3), (0, 3)]);
    assert_eq!(report.candidate.refused["10 bytes are too many"], 3);
    assert_eq!(report.candidate.not_stored["policy"], 3);
    let Cost { decisions, took_us, fuel } = &report.candidate.cost;
    assert_eq!((*decisions, took_us.unwrap().p99, fuel.unwrap().p99), (3, 50, 2_000));
}

#[tokio::test]
async fn a_candidate_that_fails_bypasses_and_does_not_store() {
    fn failed<T>() -> Result<T, FailedApart> {
        let reason = "unreachable".to_owned();
        let error = PolicyError::Failed { name: name("default"), reason };
        Err(FailedApart { kind: "trapped", error })
    }
    let mut in_keying = World::new(by_body(), Fake { keying: Some(failed), ..by_body() });
    let fails: Admits = |_| failed();
    let mut in_admission = World::new(by_body(), Fake { admission: Some(fails), ..by_body() });
    for (world, hook, lookups) in
        [(&mut in_keying, "keying", 0), (&mut in_admission, "admission", 2)]
    {
        world.ask(Asked { after: s(1), ..Asked::default() }).await;
        world.ask(Asked { after: s(2), ..Asked::default() }).await;
        let report = world.report();
        assert_eq!(hits(&report), [(1, 2), (0, lookups)], "{hook}");
        let [failure] = &report.candidate.failures[..] else { panic!("{report:?}") };
        assert_eq!((failure.hook, failure.kind, failure.count), (hook, "trapped", 2));
        assert!(failure.example.contains("unreachable"), "{failure:?}");
    }
}

#[tokio::test]
async fn tags_that_differ_are_shown() {
    let tagged = |tags| policy(vec![wit::Source::Body], storage(60_000, tags));
    let mut world = World::new(tagged(&["old", "both"]), tagged(&["both", "new"]));
    world.ask(Asked::default()).await;
    let tags = world.report().tags;
    assert_eq!(tags.added, [("policy:default:new".to_owned(), 1)]);
    assert_eq!(tags.missing, [("policy:default:old".to_owned(), 1)]);
    assert_eq!(tags.compared, 1);
}

#[tokio::test]
async fn a_change_ends_what_has_read_it_under_both() {
    let mut world = World::new(by_body(), policy(vec![field("/q")], storage(60_000, &[])));
    world.ask(Asked { after: s(1), ..Asked::default() }).await;
    world.ask(Asked { after: s(2), ..Asked::default() }).await;
    world.tags().record(&Read::Collection(name("books")).tag(), Position(2));
    world.ask(Asked { after: s(3), at: 2, ..Asked::default() }).await;
    world.ask(Asked { after: s(4), at: 2, ..Asked::default() }).await;
    assert_eq!(hits(&world.report()), [(2, 4); 2]);
}

#[tokio::test]
async fn who_asks_while_an_answer_is_made_has_no_hit_and_no_miss() {
    let mut world = World::new(by_body(), by_body());
    let slow =
        |after: u64, ended| Asked { after: s(after), compute: s(10), ended, ..Asked::default() };
    world.ask(slow(1, Ended::Ran)).await;
    world.ask(slow(5, Ended::Collapsed)).await;
    world.ask(slow(12, Ended::Hit)).await;
    let report = world.report();
    assert_eq!(hits(&report), [(1, 3); 2]);
    assert_eq!((report.candidate.collapsed, report.candidate.misses), (1, 1));
}

#[tokio::test]
async fn what_nobody_may_store_is_not_and_what_fails_is_no_lookup() {
    let mut world = World::new(by_body(), by_body());
    for after in [1, 2] {
        let kept_apart = Some("no-store");
        world.ask(Asked { kept_apart, after: s(after), ..Asked::default() }).await;
    }
    let failed = || Asked { answer: None, ended: Ended::Failed, ..Asked::default() };
    world.ask(Asked { after: s(3), ..failed() }).await;
    let report = world.report();
    assert_eq!(hits(&report), [(0, 2); 2]);
    assert_eq!((report.answered.failed, report.candidate.not_stored["no-store"]), (1, 2));
}

#[tokio::test]
async fn old_answers_count_as_hits_where_they_are_allowed() {
    let mut stale = storage(1_000, &[]);
    stale.memory.as_mut().unwrap().stale_while_revalidate_ms = Some(5_000);
    stale.memory.as_mut().unwrap().stale_if_error_ms = Some(60_000);
    let brief = policy(vec![wit::Source::Body], storage(1_000, &[]));
    let mut world = World::new(brief, policy(vec![wit::Source::Body], stale));
    world.ask(Asked { after: s(1), ..Asked::default() }).await;
    world.ask(Asked { after: s(4), ..Asked::default() }).await;
    let failed = || Asked { answer: None, ended: Ended::Failed, ..Asked::default() };
    world.ask(Asked { after: s(30), ..failed() }).await;
    let report = world.report();
    assert_eq!(hits(&report), [(0, 2), (2, 3)]);
    assert_eq!((report.candidate.stale, report.candidate.stored), (2, 2));
}

/// What a policy stores that has a hook is what the hook says.
#[tokio::test]
async fn admission_decides_how_long() {
    let admits: Admits = |_| {
        let stored = storage(7_000, &["kept"]);
        Ok(Admission::Store(Storage::compile(&name("default"), stored).unwrap()))
    };
    let keys: fn() -> _ = || Ok(Keying::Parts(vec!["gold".to_owned()]));
    let candidate = Fake { admission: Some(admits), keying: Some(keys), ..by_body() };
    let mut world = World::new(by_body(), candidate);
    for after in [1, 7, 9] {
        world.ask(Asked { after: s(after), ..Asked::default() }).await;
    }
    let report = world.report();
    assert_eq!(hits(&report), [(2, 3), (1, 3)]);
    assert_eq!(report.tags.added, [("policy:default:kept".to_owned(), 1)]);
    assert_eq!(report.candidate.cost.decisions, 5);
}
