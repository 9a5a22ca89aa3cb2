//! Random texts, metadata and choices, the same for the same seed.
//!
//! The words are invented: each ends in `o` or `k`, which no rule of the English stemmer touches,
//! and none is a stop word. So the terms of a text are its words, and the checker needs neither a
//! stemmer nor a list of stop words of its own.

use serde_json::{Value, json};

/// Words that texts and queries are made of.
const VOCABULARY: usize = 240;
const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
const VOWELS: &[u8] = b"aeiou";
pub(super) const TOPICS: [&str; 5] = ["bread", "sea", "stars", "cats", "law"];
pub(super) const TAGS: [&str; 4] = ["new", "old", "long", "draft"];
pub(super) const FIRST_YEAR: usize = 1990;
pub(super) const YEARS: usize = 30;

/// A generator of random numbers (SplitMix64).
#[derive(Clone)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another generator, whose numbers have nothing to do with those of this one.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound` - 1.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A word of the language; those from [`VOCABULARY`] on are in no document.
fn word(index: usize) -> String {
    // 37 has no factor in common with the number of combinations, so words do not repeat.
    let mut rest = index * 37 % (CONSONANTS.len() * VOWELS.len() * CONSONANTS.len());
    let mut take = |letters: &[u8]| {
        let letter = char::from(letters[rest % letters.len()]);
        rest /= letters.len();
        letter
    };
    let (first, second, third) = (take(CONSONANTS), take(VOWELS), take(CONSONANTS));
    let end = if index.is_multiple_of(3) { "ak" } else { "o" };
    format!("{first}{second}{third}{end}")
}

/// A word of the vocabulary; some are far more frequent than others.
fn frequent(rng: &mut Rng) -> String {
    let index = rng.below(VOCABULARY).min(rng.below(VOCABULARY)).min(rng.below(VOCABULARY));
    word(index)
}

/// A text of one chunk, far below the window of the model. A few have no words, so no chunk.
pub(super) fn text(rng: &mut Rng) -> String {
    match rng.below(40) {
        0 => return String::new(),
        1 => return "?! … — *".to_owned(),
        _ => {}
    }
    let mut text = String::new();
    for number in 0..4 + rng.below(15) {
        let next = frequent(rng);
        match (number, rng.below(8)) {
            (0, _) => text.push_str(&capitalized(&next)),
            (_, 0) => text.push_str(&format!(", {next}")),
            (_, 1) => text.push_str(&format!("-{}", next.to_uppercase())),
            _ => text.push_str(&format!(" {next}")),
        }
    }
    text.push('.');
    text
}

/// A question of one to four words, some of them given twice and some in no document.
pub(super) fn query(rng: &mut Rng) -> String {
    let mut words: Vec<_> = (0..1 + rng.below(4)).map(|_| frequent(rng)).collect();
    if rng.chance(15) {
        words.push(words[0].clone());
    }
    if rng.chance(10) {
        words.push(word(VOCABULARY + rng.below(300)));
    }
    if rng.chance(30) {
        words[0] = capitalized(&words[0]);
    }
    words.join(if rng.chance(20) { ", " } else { " " })
}

/// Metadata that no other call returns, if `serial` is one that no other call was given.
pub(super) fn metadata(rng: &mut Rng, serial: u64) -> Value {
    let mut metadata = json!({
        "topic": rng.pick(&TOPICS),
        "tags": [rng.pick(&TAGS), rng.pick(&TAGS)],
        "by": { "number": rng.below(4) },
        "serial": serial,
    });
    if rng.chance(90) {
        metadata["year"] = json!(FIRST_YEAR + rng.below(YEARS));
    }
    metadata
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

/// The terms of a text, with repetitions.
pub(super) fn terms(text: &str) -> Vec<String> {
    let words = text.split(|character: char| !character.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

#[test]
fn words_are_different_and_end_as_promised() {
    let words: std::collections::BTreeSet<_> = (0..VOCABULARY + 300).map(word).collect();
    assert_eq!(words.len(), VOCABULARY + 300);
    assert!(words.iter().all(|word| word.ends_with(['o', 'k']) && word.len() >= 4), "{words:?}");
}

#[test]
fn terms_are_the_words_in_lower_case() {
    assert_eq!(terms("Kobo, zarko-FIMBO kobo."), ["kobo", "zarko", "fimbo", "kobo"]);
    assert!(terms("?! … — *").is_empty());
}
