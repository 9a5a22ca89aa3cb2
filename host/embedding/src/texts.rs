//! The texts of a call, hashed once.
//!
//! Everything that asks whether two texts are the same asks for their keys: a call, which embeds
//! each of its texts once, the tiers, and the calls that wait for each other. So a text is hashed
//! where a call is made of it, and never again. Hashing takes about a microsecond a KiB: large
//! calls are made where that delays nobody, not on the runtime's workers.
//!
//! Out of scope: how many texts and bytes a call may have, which its maker checks first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, LazyLock};

use weir_cache::CacheKey;
use weir_cache::key::{KeyBuilder, KeyPrefix};

static PREFIX: LazyLock<KeyPrefix> = LazyLock::new(|| KeyPrefix::new(&["text"]));

/// The texts of a call: the distinct ones, and which of them each text of the call is.
#[derive(Clone, Debug)]
pub struct Texts {
    distinct: Vec<Arc<str>>,
    /// Of the distinct ones.
    keys: Vec<CacheKey>,
    /// For each text of the call, its index among the distinct ones.
    places: Vec<usize>,
}

impl Texts {
    /// Makes a call of these texts, in this order. Hashes all of them.
    #[must_use]
    pub fn new(texts: impl IntoIterator<Item = impl Into<Arc<str>>>) -> Self {
        let texts = texts.into_iter();
        let expected = texts.size_hint().0;
        let mut made = Self {
            distinct: Vec::with_capacity(expected),
            keys: Vec::with_capacity(expected),
            places: Vec::with_capacity(expected),
        };
        let mut found = HashMap::with_capacity(expected);
        for text in texts {
            let text = text.into();
            let key = KeyBuilder::new(&PREFIX).part(text.as_bytes()).finish();
            let place = match found.entry(key) {
                Entry::Occupied(place) => *place.get(),
                Entry::Vacant(vacant) => {
                    made.distinct.push(text);
                    made.keys.push(key);
                    *vacant.insert(made.keys.len() - 1)
                }
            };
            made.places.push(place);
        }
        made
    }

    /// The distinct texts, each where it is first.
    #[must_use]
    pub fn distinct(&self) -> &[Arc<str>] {
        &self.distinct
    }

    /// The key of each distinct text. It says nothing about a model.
    #[must_use]
    pub fn keys(&self) -> &[CacheKey] {
        &self.keys
    }

    /// The texts of the call, in its order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.places.iter().map(|&place| &self.distinct[place])
    }

    /// The index in the call of a distinct text: that of the first text that is the same.
    #[must_use]
    pub fn first(&self, distinct: usize) -> usize {
        self.places.iter().position(|&place| place == distinct).unwrap_or(distinct)
    }

    /// What each text of the call has, given what each distinct one has.
    #[must_use]
    pub fn spread<T: Clone>(&self, of_distinct: Vec<T>) -> Vec<T> {
        if self.places.len() == self.distinct.len() {
            return of_distinct;
        }
        self.places.iter().map(|&place| of_distinct[place].clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_the_order_is_kept() {
        /// The texts, the distinct ones, and the index of each distinct one.
        type Case = (&'static [&'static str], &'static [&'static str], &'static [usize]);
        let cases: [Case; 5] = [
            (&[], &[], &[]),
            (&["a"], &["a"], &[0]),
            (&["b", "a"], &["b", "a"], &[0, 1]),
            (&["a", "a", "b", "", "a", "b"], &["a", "b", ""], &[0, 2, 3]),
            (&["", "", "a "], &["", "a "], &[0, 2]),
        ];
        for (given, distinct, firsts) in cases {
            let texts = Texts::new(given.iter().copied());
            let found: Vec<_> = texts.distinct().iter().map(|text| &**text).collect();
            assert_eq!(found, distinct);
            assert_eq!(texts.keys().len(), distinct.len());
            assert_eq!(texts.iter().map(|text| &**text).collect::<Vec<_>>(), given);
            assert_eq!((0..firsts.len()).map(|n| texts.first(n)).collect::<Vec<_>>(), firsts);
            assert_eq!(texts.spread(found), given);
        }
    }
}
