//! Requests with hand-made keys.

use weir_cache::key::{KeyBuilder, KeyPrefix};

use super::*;

fn key(text: &str) -> CacheKey {
    KeyBuilder::new(&KeyPrefix::new(&[])).part(text.as_bytes()).finish()
}

/// Requests: both keys, the answer and its position.
fn noted(requests: &[(&str, &str, u128, u64)]) -> Keys {
    let mut relation = Relation::default();
    for (deployed, candidate, answer, at) in requests {
        let parts = |is_deployed| {
            let text = if is_deployed { deployed } else { candidate };
            parts(vec![("body".to_owned(), Some((*text).to_owned()))], &[])
        };
        relation.note(&Request {
            deployed: &key(deployed),
            candidate: &key(candidate),
            answer: Some((*answer, Position(*at))),
            finds_other_answer: false,
            parts,
        });
    }
    relation.keys()
}

/// The texts of an example.
fn texts(example: &Example) -> [&str; 3] {
    let text = |parts: &'_ [Part]| parts[0].text.clone().unwrap_or_default();
    let [one, other] = &example.others;
    [text(&example.parts), text(one), text(other)].map(|text| &*text.leak())
}

#[test]
fn equal_keys_differ_in_nothing() {
    let keys = noted(&[("a", "a", 1, 1), ("b", "b", 2, 1), ("a", "a", 1, 1)]);
    assert_eq!(keys, Keys { deployed: 2, candidate: 2, ..Keys::default() });
}

#[test]
fn a_key_is_split() {
    let requests = [("a", "a1", 1, 1), ("a", "a2", 1, 1), ("a", "a3", 1, 1), ("b", "b", 2, 1)];
    let keys = noted(&requests);
    assert_eq!((keys.split, keys.split_into, keys.merged), (1, 3, 0));
    assert_eq!(keys.split_examples.len(), 1, "one of each key");
    assert_eq!(texts(&keys.split_examples[0]), ["a", "a1", "a2"]);
}

#[test]
fn keys_are_merged() {
    let keys = noted(&[("a", "x", 1, 1), ("b", "x", 1, 1), ("c", "x", 1, 1), ("d", "d", 2, 1)]);
    assert_eq!((keys.merged, keys.merged_into, keys.merged_different, keys.split), (3, 1, 0, 0));
    assert_eq!(texts(&keys.merge_examples[0]), ["x", "a", "b"]);
    assert!(keys.merge_examples.iter().all(|example| example.answers == Answers::Same));
}

#[test]
fn a_merge_of_different_answers_is_one() {
    for (answer, at, expected) in [
        (1, 1, Answers::Same),
        (1, 2, Answers::Same),
        (2, 1, Answers::Different),
        (2, 2, Answers::Unknown),
    ] {
        let keys = noted(&[("a", "x", 1, 1), ("b", "x", answer, at)]);
        assert_eq!(keys.merge_examples[0].answers, expected, "{answer} {at}");
        assert_eq!(keys.merged_different, u64::from(expected == Answers::Different));
    }
}

#[test]
fn a_difference_takes_the_place_of_a_harmless_example() {
    let names: Vec<_> = (0..30_u32).map(|number| number.to_string()).collect();
    let mut requests: Vec<_> = names.iter().map(|name| (&**name, "x", 1, 1)).collect();
    requests.push(("bad", "x", 2, 1));
    let keys = noted(&requests);
    assert_eq!(keys.merge_examples.len(), MAX_EXAMPLES);
    assert_eq!(texts(&keys.merge_examples[0]), ["x", "0", "bad"]);
}

#[test]
fn keys_are_bounded() {
    let names: Vec<_> = (0..=MAX_KEYS).map(|number| number.to_string()).collect();
    let requests: Vec<_> = names.iter().map(|name| (&**name, &**name, 1, 1)).collect();
    let keys = noted(&requests);
    assert_eq!((keys.deployed, keys.not_compared), (MAX_KEYS as u64, 1));
}
