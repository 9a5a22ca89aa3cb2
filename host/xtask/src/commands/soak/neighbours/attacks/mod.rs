//! The attacks, one file a family, and the honest neighbour that they are compared with.
//!
//! To add one: a function `fn(Target) -> impl Future<Output = Result<()>>` that attacks until it is
//! dropped, in the file of its family, and an entry in [`ATTACKS`]. What it needs in the server
//! beforehand is made by `prepare`, and what must not stay for the next one is removed by `clear`.

mod collections;
mod embeddings;
mod guests;
mod http2;
mod requests;
mod searches;
mod slow;
mod uploads;

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;

use crate::commands::soak::experiment::bombs;
use crate::commands::soak::experiment::target::Target;

type Running = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Something that runs next to the good client.
pub(super) struct Attack {
    /// As in `--only`.
    pub(super) name: &'static str,
    /// What it does, as a sentence.
    pub(super) what: &'static str,
    prepare: Option<fn(Target) -> Running>,
    run: fn(Target) -> Running,
    clear: Option<fn(Target) -> Running>,
}

impl Attack {
    const fn new(name: &'static str, what: &'static str, run: fn(Target) -> Running) -> Self {
        Self { name, what, prepare: None, run, clear: None }
    }

    const fn prepared_by(mut self, prepare: fn(Target) -> Running) -> Self {
        self.prepare = Some(prepare);
        self
    }

    const fn cleared_by(mut self, clear: fn(Target) -> Running) -> Self {
        self.clear = Some(clear);
        self
    }

    /// Makes what it needs in the server.
    pub(super) async fn prepare(&self, target: Target) -> Result<()> {
        match self.prepare {
            Some(prepare) => prepare(target).await,
            None => Ok(()),
        }
    }

    /// Attacks until the future is dropped.
    pub(super) async fn run(&self, target: Target) -> Result<()> {
        (self.run)(target).await
    }

    /// Removes what it made.
    pub(super) async fn clear(&self, target: Target) -> Result<()> {
        match self.clear {
            Some(clear) => clear(target).await,
            None => Ok(()),
        }
    }
}

/// Searches like those of the good client, as many as both cores can answer.
pub(super) const HONEST: Attack = Attack::new(
    "honest",
    "Eight clients search another collection, each with a new question when it has its answer.",
    |target| Box::pin(searches::honest(target)),
);

/// Documents with much metadata.
const BOMBS: u64 = 1_000;

/// In the order in which they run.
pub(super) static ATTACKS: &[Attack] = &[
    Attack::new(
        "filter-bomb",
        "Eight clients search 1,000 documents with 60 KB of metadata each by a filter of 64 × 64 \
         values.",
        |target| Box::pin(searches::filter_bomb(target)),
    )
    .prepared_by(|target| Box::pin(bombs::prepare(target, BOMBS)))
    .cleared_by(|target| Box::pin(bombs::clear(target))),
    Attack::new(
        "guest-filter-bomb",
        "Eight requests at a time run a guest that makes ten such searches, one after the other.",
        |target| Box::pin(searches::guest_filter_bomb(target)),
    )
    .prepared_by(|target| Box::pin(bombs::prepare(target, BOMBS)))
    .cleared_by(|target| Box::pin(bombs::clear(target))),
    Attack::new(
        "loop-forever",
        "64 requests at a time run a guest that computes until its deadline.",
        |target| Box::pin(guests::loop_forever(target)),
    ),
    Attack::new(
        "every-slot",
        "300 requests at a time, more than there are slots for guests, run a guest that computes \
         until its deadline.",
        |target| Box::pin(guests::every_slot(target)),
    ),
    Attack::new(
        "embed-and-leave",
        "16 clients send 256 long texts to be embedded, and leave after 50 ms.",
        |target| Box::pin(embeddings::embed_and_leave(target)),
    ),
    Attack::new("long-words", "Twelve clients send a word of 1 MB to be embedded.", |target| {
        Box::pin(embeddings::long_words(target))
    }),
    Attack::new(
        "stalled-uploads",
        "16 clients begin to upload 60 MB of documents and stop after 1 MB.",
        |target| Box::pin(slow::stalled_uploads(target)),
    ),
    Attack::new(
        "announced-bodies",
        "300 clients announce a body of 1 MB that never comes.",
        |target| Box::pin(slow::announced_bodies(target)),
    ),
    Attack::new(
        "slow-bodies",
        "300 clients send a body of 1 MB, a byte every half second.",
        |target| Box::pin(slow::slow_bodies(target)),
    ),
    Attack::new(
        "slow-heads",
        "500 clients send a head that does not end, a byte every half second.",
        |target| Box::pin(slow::slow_heads(target)),
    ),
    Attack::new(
        "zero-window",
        "Eight HTTP/2 clients ask for 256 answers of 1 MB each, take none of them and send pings.",
        |target| Box::pin(http2::zero_window(target)),
    ),
    Attack::new(
        "rapid-reset",
        "Eight HTTP/2 clients begin requests and reset them at once.",
        |target| Box::pin(http2::rapid_reset(target)),
    ),
    Attack::new(
        "abandoned",
        "64 clients send a new question and drop the connection after 1 ms, as fast as they can.",
        |target| Box::pin(requests::abandoned(target)),
    ),
    Attack::new(
        "distinct-keys",
        "Four connections send pipelined requests as fast as they can, each with a new cache key.",
        |target| Box::pin(requests::distinct_keys(target)),
    ),
    Attack::new(
        "thousand-collections",
        "Four clients create a thousand collections, and write to and search each of them.",
        |target| Box::pin(collections::thousand(target)),
    )
    .cleared_by(|target| Box::pin(collections::clear(target))),
    Attack::new(
        "allocate-forever",
        "64 requests at a time run a guest that takes all the memory that it gets.",
        |target| Box::pin(guests::allocate_forever(target)),
    ),
    Attack::new(
        "recurse",
        "16 requests at a time run a guest that overflows its stack.",
        |target| Box::pin(guests::recurse(target)),
    ),
    Attack::new(
        "many-calls",
        "16 requests at a time run a guest that embeds 1,000 new texts at once.",
        |target| Box::pin(guests::many_calls(target)),
    ),
    Attack::new("trap", "32 requests at a time run a guest that traps.", |target| {
        Box::pin(guests::trap(target))
    }),
    Attack::new("huge-answer", "16 requests at a time run a guest that answers 32 MB.", |target| {
        Box::pin(guests::huge_answer(target))
    }),
    Attack::new(
        "log-flood",
        "16 requests at a time run a guest that logs 10,000 long lines.",
        |target| Box::pin(guests::log_flood(target)),
    ),
    Attack::new(
        "uploads-that-drip",
        "64 administrators announce a plugin of 32 MiB, send a part, and then a byte every half second.",
        |target| Box::pin(uploads::that_drip(target)),
    ),
    Attack::new(
        "uploads-of-rubbish",
        "Eight administrators upload as fast as they can what is truncated, damaged, too large, without a manifest, \
         or no pipeline.",
        |target| Box::pin(uploads::of_rubbish(target)),
    ),
    // The last: what it has begun to compile ends later.
    Attack::new(
        "uploads-of-bombs",
        "Four administrators upload plugins that take more than 30 seconds, or a gigabyte, to compile.",
        |target| Box::pin(uploads::of_bombs(target)),
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_words_and_sentences_end() {
        let names: BTreeSet<_> = ATTACKS.iter().chain([&HONEST]).map(|one| one.name).collect();
        assert_eq!(names.len(), ATTACKS.len() + 1);
        for attack in ATTACKS {
            let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(attack.name.chars().all(is_word), "{}", attack.name);
            assert!(attack.what.ends_with('.') && !attack.what.contains("  "), "{}", attack.what);
        }
    }
}
