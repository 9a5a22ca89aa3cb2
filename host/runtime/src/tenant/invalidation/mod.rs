//! What ends answers: the tags that the lines of the log move, and what administrators invalidate.
//!
//! Tags move before readers can see a change, so an entry whose tags have not moved is what would
//! be computed from everything that readers can see. An invalidation is a position in the same order: what
//! was made before it is no longer served once it is heard. Policies that [want](hooks) say what a change
//! ends besides. Out of scope: who holds the cells of tags and the rules (`weir_cache`).

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::RwLock;
use weir_cache::entry::Moment;
use weir_cache::invalidation::Rules;
use weir_cache::reads::Read;
use weir_cache::tag::{Changed, Tag, TagTable};
use weir_core::Position;
use weir_core::name::Name;
use weir_search::catch_up::Observer;
use weir_store::{Change, ChangeKind, Invalidation, Invalidations, LastChanges};

use self::hooks::ChangeHook;
use self::what::{Target, What};

pub mod hooks;
pub mod what;

/// What has ended answers of a tenant.
pub struct Ended {
    /// The position of the last change of everything that an answer can read.
    pub tags: TagTable,
    /// What was invalidated in another way than by a tag.
    pub rules: Rules,
    /// The position of the newest change that a policy has ended something with.
    said: AtomicU64,
    hooks: RwLock<Arc<[ChangeHook]>>,
}

impl Ended {
    /// What is known at a start, with at most `capacity` tags.
    #[must_use]
    pub fn at_start(capacity: usize, last: &LastChanges) -> Self {
        let tags = TagTable::new(capacity, last.others);
        for (collection, at) in &last.collections {
            tags.record(&Read::Collection(collection.clone()).tag(), *at);
        }
        let ended = Self {
            tags,
            rules: Rules::default(),
            said: AtomicU64::default(),
            hooks: RwLock::default(),
        };
        ended.invalidate_all(&last.invalidations);
        ended
    }

    /// The newest position at which something may have been ended that an answer was made from without
    /// having read it. What was made at it or later has not ended.
    #[must_use]
    pub fn newest(&self) -> Position {
        self.rules.newest().max(Position(self.said.load(Relaxed)))
    }

    fn invalidate_all(&self, invalidations: &Invalidations) {
        if invalidations.before > self.tags.floor() {
            self.tags.raise_floor(invalidations.before);
            self.rules.forget_up_to(invalidations.before);
        }
        let now = Moment::now();
        for invalidation in &invalidations.kept {
            self.invalidate(invalidation, now);
        }
    }

    fn invalidate(&self, invalidation: &Invalidation, now: Moment) {
        let Invalidation { position, committed_unix_ms, what, is_soft } = invalidation;
        let target = serde_json::from_str::<What>(what).ok().and_then(|what| what.target().ok());
        let began =
            committed_unix_ms.filter(|_| *is_soft).and_then(|unix_ms| instant_of(unix_ms, now));
        let changed = Changed { last: *position, began };
        match target {
            Some(Target::Label(label)) => self.rules.note(label, changed),
            Some(Target::Tag(tag)) => {
                self.tags.record_within(&tag, changed, iter::empty());
                self.rules.note_unlabelled(*position);
            }
            None => {
                tracing::warn!(
                    what,
                    "an invalidation is not understood, perhaps because it is from a newer Weir: \
                     everything is invalidated"
                );
                self.tags.raise_floor(*position);
                self.rules.note_unlabelled(*position);
            }
        }
    }
}

#[async_trait]
impl Observer for Ended {
    async fn applied(&self, collection: &Name, lines: &[Change]) {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
        let began = instant_of(first.committed_unix_ms, Moment::now());
        let changed = Changed { last: last.commit.position, began };
        let whole = Read::Collection(collection.clone()).tag();
        let parts = lines.iter().filter_map(|line| part(collection, line));
        self.tags.record_within(&whole, changed, parts);
        let hooks = Arc::clone(&self.hooks.read());
        for hook in &*hooks {
            hook.applied(self, collection, lines, changed).await;
        }
    }

    /// Everything that was made before is outdated, whatever it read: it may have embedded.
    fn model_changed(&self, at: Position) {
        self.tags.raise_floor(at);
    }

    fn invalidated(&self, invalidations: &Invalidations) {
        self.invalidate_all(invalidations);
    }
}

/// When something was committed, by this process's monotonic clock. The wall clock only says how long
/// ago that was, which is as long as the catch-up took.
fn instant_of(committed_unix_ms: u64, now: Moment) -> Option<Instant> {
    let ago = Duration::from_millis(now.unix_ms.saturating_sub(committed_unix_ms));
    now.monotonic.checked_sub(ago)
}

/// What a line changes within its collection.
fn part(collection: &Name, line: &Change) -> Option<(Tag, Position)> {
    let read = match &line.kind {
        ChangeKind::CollectionCreated | ChangeKind::CollectionDeleted => {
            Read::Lifetime(collection.clone())
        }
        ChangeKind::DocumentPut(id) | ChangeKind::DocumentDeleted(id) => {
            Read::Document(collection.clone(), id.clone())
        }
        // Only searches see statistics and models.
        ChangeKind::Rolled | ChangeKind::ModelChanged => return None,
    };
    Some((read.tag(), line.commit.position))
}
