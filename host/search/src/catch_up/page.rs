//! One page of the log: turns its entries into changes of the index and applies them.
//!
//! Each thing that a page names is read once, in its current state. A document that is newer than
//! the page is remembered, so that it is not embedded again for the later entry of its own
//! change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use thiserror::Error;

use crate::{Content, IndexChange, IndexedChunk, VectorError, VectorStore, keyword};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};
use weir_embedding::{EmbedError, Embedder, Embedding, Lane};
use weir_store::{Change, ChangeKind, Document, Truth, TruthError, chunk_text};

/// How many entries of the log are read at once. A page becomes searchable as a whole, so this
/// is also the granularity of progress. A commit with more entries is one page.
const PAGE_LINES: u32 = 64;
/// The most chunks given to the embedder at once, and the most documents gathered for it.
const GROUP: usize = 64;
/// How many documents newer than their page are remembered; any others are embedded twice.
const MAX_AHEAD: usize = 16_384;

/// Why a page could not be applied.
#[derive(Debug, Error)]
pub(super) enum CatchUpError {
    #[error(transparent)]
    Truth(#[from] TruthError),
    #[error(transparent)]
    Embedding(#[from] EmbedError),
    #[error("the embedder returned {got} vectors for {asked} texts")]
    Miscounted { asked: usize, got: usize },
    #[error("the document '{0}' is damaged")]
    Damaged(DocumentId),
    #[error(transparent)]
    Store(#[from] VectorError),
    #[error(
        "the vector store is at position {applied} but the truth is only at {truth}: the store was \
         built from another truth; delete it to have it rebuilt"
    )]
    OtherTruth { applied: Position, truth: Position },
    #[error("a task of the catch-up panicked")]
    Panicked,
}

/// Changes that are applied at once.
pub(super) struct Page {
    changes: Vec<IndexChange>,
    up_to: Position,
}

/// Reads the pages after the store's position and applies them.
pub(super) struct Pages {
    truth: Arc<dyn Truth>,
    embedder: Arc<dyn Embedder>,
    store: Arc<dyn VectorStore>,
    ahead: Ahead,
}

impl Pages {
    pub(super) fn new(
        truth: Arc<dyn Truth>,
        embedder: Arc<dyn Embedder>,
        store: Arc<dyn VectorStore>,
    ) -> Self {
        Self { truth, embedder, store, ahead: Ahead::default() }
    }

    pub(super) fn applied(&self) -> Position {
        self.store.applied()
    }

    /// The page after the store's position, or `None` if the store has caught up.
    pub(super) async fn next(&mut self) -> Result<Option<Page>, CatchUpError> {
        let applied = self.store.applied();
        let lines = self.truth.changes_after(applied, PAGE_LINES).await?;
        let Some(last) = lines.last() else {
            let truth = self.truth.position().await?;
            return if applied > truth {
                Err(CatchUpError::OtherTruth { applied, truth })
            } else {
                Ok(None)
            };
        };
        let up_to = last.position;
        let changes = self.index(things(lines)).await?;
        Ok(Some(Page { changes, up_to }))
    }

    /// Makes a page searchable.
    pub(super) async fn apply(&mut self, page: Page) -> Result<(), CatchUpError> {
        let ahead = self.ahead.after(&page);
        // Until the store answers, its content is unknown.
        self.ahead = Ahead::default();
        self.store.apply(page.changes, page.up_to).await?;
        self.ahead = ahead;
        Ok(())
    }

    /// The changes of the index for `things`. The order of documents does not matter: each
    /// occurs once, after the changes of its collection.
    async fn index(&mut self, things: Vec<Thing>) -> Result<Vec<IndexChange>, CatchUpError> {
        let mut changes = Vec::with_capacity(things.len());
        let mut group = Group::default();
        for thing in things {
            match thing {
                Thing::Created(collection) => {
                    changes.push(IndexChange::CreateCollection(collection));
                }
                Thing::Dropped(collection) => {
                    self.ahead.forget(&collection);
                    changes.push(IndexChange::DropCollection(collection));
                }
                Thing::Document(collection, id) => match self.current(&collection, &id).await? {
                    None => changes.push(IndexChange::Delete { collection, document: id }),
                    Some(document) if self.ahead.holds(&collection, &document) => {}
                    Some(document) => {
                        group.add(collection, document)?;
                        if group.is_full() {
                            self.embed(std::mem::take(&mut group), &mut changes).await?;
                        }
                    }
                },
            }
        }
        self.embed(group, &mut changes).await?;
        Ok(changes)
    }

    async fn current(
        &self,
        collection: &Name,
        id: &DocumentId,
    ) -> Result<Option<Document>, CatchUpError> {
        match self.truth.document(collection, id).await {
            Err(TruthError::UnknownCollection(_)) => Ok(None),
            document => Ok(document?),
        }
    }

    async fn embed(
        &self,
        group: Group,
        changes: &mut Vec<IndexChange>,
    ) -> Result<(), CatchUpError> {
        let texts: Arc<[Arc<str>]> = group.texts.into();
        let mut embeddings = Vec::with_capacity(texts.len());
        for texts in texts.chunks(GROUP) {
            let embedded = self.embedder.embed(texts, Lane::Bulk).await?;
            if embedded.len() != texts.len() {
                let (asked, got) = (texts.len(), embedded.len());
                return Err(CatchUpError::Miscounted { asked, got });
            }
            embeddings.extend(embedded);
        }
        // Stemming takes too long for a thread that serves requests.
        let terms = tokio::task::spawn_blocking(move || {
            texts.iter().map(|text| keyword::terms(text)).collect::<Vec<_>>()
        })
        .await
        .map_err(|_| CatchUpError::Panicked)?;

        let mut chunks = embeddings.into_iter().zip(terms);
        for (collection, document) in group.documents {
            changes.push(put(collection, document, &mut chunks)?);
        }
        Ok(())
    }
}

/// Documents that are embedded together.
#[derive(Default)]
struct Group {
    documents: Vec<(Name, Document)>,
    /// The chunks of all of them, in order.
    texts: Vec<Arc<str>>,
}

impl Group {
    fn add(&mut self, collection: Name, document: Document) -> Result<(), CatchUpError> {
        for chunk in &document.chunks {
            let text = chunk_text(&document.text, chunk)
                .ok_or_else(|| CatchUpError::Damaged(document.id.clone()))?;
            self.texts.push(text.into());
        }
        self.documents.push((collection, document));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= GROUP || self.texts.len() >= GROUP
    }
}

/// `chunks` begins with the document's own chunks.
fn put(
    collection: Name,
    document: Document,
    chunks: &mut impl Iterator<Item = (Embedding, Vec<(Arc<str>, u32)>)>,
) -> Result<IndexChange, CatchUpError> {
    let content = Content::new(document.text, document.metadata)
        .map_err(|_| CatchUpError::Damaged(document.id.clone()))?;
    let chunks = document.chunks.iter().zip(chunks).map(|(range, (embedding, terms))| {
        IndexedChunk { start: range.start, end: range.end, embedding, terms }
    });
    Ok(IndexChange::Put {
        collection,
        chunks: chunks.collect(),
        document: document.id,
        version: document.version,
        content: Arc::new(content),
    })
}

/// What a page says to read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Created(Name),
    Dropped(Name),
    /// Put or deleted: its current state decides.
    Document(Name, DocumentId),
}

/// What the entries name, each thing once, in the order of their last entries. Leaves out what
/// happened in a collection before it was dropped.
fn things(lines: Vec<Change>) -> Vec<Thing> {
    let mut documents = HashSet::new();
    let mut dropped = HashSet::new();
    let mut things = Vec::with_capacity(lines.len());
    for Change { collection, kind, .. } in lines.into_iter().rev() {
        if dropped.contains(&collection) {
            continue;
        }
        match kind {
            ChangeKind::CollectionCreated => things.push(Thing::Created(collection)),
            ChangeKind::CollectionDeleted => {
                dropped.insert(collection.clone());
                things.push(Thing::Dropped(collection));
            }
            ChangeKind::DocumentPut(id) | ChangeKind::DocumentDeleted(id) => {
                if documents.insert((collection.clone(), id.clone())) {
                    things.push(Thing::Document(collection, id));
                }
            }
        }
    }
    things.reverse();
    things
}

/// Documents that the store holds in a version after its own position. Forgetting one is always
/// safe: it is embedded again.
#[derive(Clone, Default)]
struct Ahead(HashMap<(Name, DocumentId), Position>);

impl Ahead {
    fn holds(&self, collection: &Name, document: &Document) -> bool {
        !self.0.is_empty()
            && self.0.get(&(collection.clone(), document.id.clone())) == Some(&document.version)
    }

    /// Forgets the documents of a collection that the page drops: the store loses them.
    fn forget(&mut self, collection: &Name) {
        self.0.retain(|(of, _), _| of != collection);
    }

    /// Updates this set after `page` is applied.
    fn after(&self, page: &Page) -> Self {
        let mut ahead = self.0.clone();
        ahead.retain(|_, version| *version > page.up_to);
        for change in &page.changes {
            let (collection, document, newer) = match change {
                IndexChange::Put { collection, document, version, .. } => {
                    (collection, document, Some(*version).filter(|version| *version > page.up_to))
                }
                IndexChange::Delete { collection, document } => (collection, document, None),
                IndexChange::CreateCollection(_) | IndexChange::DropCollection(_) => continue,
            };
            let key = (collection.clone(), document.clone());
            ahead.remove(&key);
            if let Some(version) = newer
                && ahead.len() < MAX_AHEAD
            {
                ahead.insert(key, version);
            }
        }
        Self(ahead)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

    use super::*;

    /// `c+`, `c-`: a collection created, dropped; `c.d+`, `c.d-`: a document put, deleted.
    fn lines(lines: &[&str]) -> Vec<Change> {
        let line = |(line, position): (&&str, u64)| {
            let (thing, sign) = line.split_at(line.len() - 1);
            let (collection, document) = thing.split_once('.').unwrap_or((thing, ""));
            let kind = match (DocumentId::new(document), sign) {
                (Ok(id), "+") => ChangeKind::DocumentPut(id),
                (Ok(id), _) => ChangeKind::DocumentDeleted(id),
                (Err(_), "+") => ChangeKind::CollectionCreated,
                (Err(_), _) => ChangeKind::CollectionDeleted,
            };
            Change {
                position: Position(position),
                collection: Name::new(collection).unwrap(),
                kind,
            }
        };
        lines.iter().zip(1..).map(line).collect()
    }

    #[test]
    fn each_thing_occurs_once_and_after_its_collection() {
        let cases: [(&[&str], &[&str]); 6] = [
            (&[], &[]),
            (&["a+", "a.x+", "a.y+", "a.x-"], &["a+", "a.y", "a.x"]),
            (&["a+", "b+", "a.x+", "b.x+"], &["a+", "b+", "a.x", "b.x"]),
            (&["a+", "a.x+", "a-"], &["a-"]),
            (&["a.x+", "a-", "b.x+", "a+", "a.x+", "a.x-"], &["a-", "b.x", "a+", "a.x"]),
            (&["a-", "a+", "a.x+", "a-", "a+", "a.y+"], &["a-", "a+", "a.y"]),
        ];
        for (log, expected) in cases {
            let got: Vec<_> = things(lines(log))
                .iter()
                .map(|thing| match thing {
                    Thing::Created(collection) => format!("{collection}+"),
                    Thing::Dropped(collection) => format!("{collection}-"),
                    Thing::Document(collection, id) => format!("{collection}.{id}"),
                })
                .collect();
            assert_eq!(got, expected, "{log:?}");
        }
    }
}
