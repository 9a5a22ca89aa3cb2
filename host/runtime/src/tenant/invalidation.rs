//! What a change invalidates: the tags that the lines of the log move.
//!
//! Tags move before readers can see a change, so an entry whose tags have not moved is what would
//! be computed from everything that readers can see. Out of scope: who holds the cells of tags
//! (`weir_cache`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_cache::entry::Moment;
use weir_cache::reads::Read;
use weir_cache::tag::{Changed, Tag, TagTable};
use weir_core::Position;
use weir_core::name::Name;
use weir_search::catch_up::Observer;
use weir_store::{Change, ChangeKind, LastChanges};

/// A table of at most `capacity` tags that knows these last changes, for a start.
#[must_use]
pub fn tags(capacity: usize, last: &LastChanges) -> TagTable {
    let tags = TagTable::new(capacity, last.others);
    for (collection, at) in &last.collections {
        tags.record(&Read::Collection(collection.clone()).tag(), *at);
    }
    tags
}

/// The observer of a tenant's catch-up that moves `tags`.
#[must_use]
pub fn observer(tags: Arc<TagTable>) -> Arc<dyn Observer> {
    Arc::new(TagMover(tags))
}

struct TagMover(Arc<TagTable>);

impl Observer for TagMover {
    fn applied(&self, collection: &Name, lines: &[Change]) {
        let (Some(first), Some(last)) = (lines.first(), lines.last()) else { return };
        let began = committed_at(first, Moment::now());
        let changed = Changed { last: last.commit.position, began };
        let whole = Read::Collection(collection.clone()).tag();
        let parts = lines.iter().filter_map(|line| part(collection, line));
        self.0.record_within(&whole, changed, parts);
    }

    /// Everything that was made before is outdated, whatever it read: it may have embedded.
    fn model_changed(&self, at: Position) {
        self.0.raise_floor(at);
    }
}

/// When the change was committed, by this process's monotonic clock. The wall clock only says how long
/// ago that was, which is as long as the catch-up took.
fn committed_at(change: &Change, now: Moment) -> Option<Instant> {
    let ago = Duration::from_millis(now.unix_ms.saturating_sub(change.committed_unix_ms));
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
