//! The net effect of a list of changes: prepared while searches continue, then made durable and
//! published as one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::keyword::Statistics;
use crate::plan::Legs;
use crate::{IndexChange, VectorError};
use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::index::{Collection, Collections, NewDocument};
use super::postings;

/// The net effect of a list of changes, by collection. Changes without an effect are left out.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) collections: BTreeMap<Name, CollectionChange>,
}

#[derive(Debug, Default)]
pub(super) struct CollectionChange {
    /// Whether the existing collection is removed first.
    pub(super) dropped: bool,
    /// Whether the collection exists afterwards.
    pub(super) exists: bool,
    /// The new content of each document; `None` if it is deleted.
    pub(super) documents: HashMap<DocumentId, Option<NewDocument>>,
    /// The statistics of a new epoch, if one starts.
    pub(super) statistics: Option<Arc<Statistics>>,
    /// Chunks written or removed in the epoch.
    pub(super) changed_chunks: u64,
}

impl Batch {
    /// The effect of `changes` on `collections` at the position `up_to`.
    pub(super) fn new(
        collections: &Collections,
        changes: Vec<IndexChange>,
        up_to: Position,
        dimensions: usize,
    ) -> Result<Self, VectorError> {
        let mut batch = Self::default();
        for change in changes {
            batch.add(collections, change, dimensions)?;
        }
        batch.collections.retain(|name, change| {
            let base = collections.get(name).filter(|_| !change.dropped);
            change.settle(base, up_to);
            let drops = change.dropped && collections.contains_key(name);
            let creates = change.exists && base.is_none();
            drops || creates || !change.documents.is_empty()
        });
        Ok(batch)
    }

    fn add(
        &mut self,
        collections: &Collections,
        change: IndexChange,
        dimensions: usize,
    ) -> Result<(), VectorError> {
        match change {
            IndexChange::Put { collection, document, version, content, chunks } => {
                let new = NewDocument { version, content, chunks };
                check(&document, &new, dimensions)?;
                let change = self.change(collections, collection);
                change.exists = true;
                change.documents.insert(document, Some(new));
            }
            IndexChange::Delete { collection, document } => {
                self.change(collections, collection).documents.insert(document, None);
            }
            IndexChange::CreateCollection(name) => self.change(collections, name).exists = true,
            IndexChange::DropCollection(name) => {
                let dropped = CollectionChange { dropped: true, ..CollectionChange::default() };
                self.collections.insert(name, dropped);
            }
        }
        Ok(())
    }

    fn change(&mut self, collections: &Collections, name: Name) -> &mut CollectionChange {
        let exists = collections.contains_key(&name);
        let unchanged = || CollectionChange { exists, ..CollectionChange::default() };
        self.collections.entry(name).or_insert_with(unchanged)
    }
}

/// Applies `batch`. Returns the removed collections, so that the caller can free them after it
/// unlocks `collections`.
pub(super) fn publish(
    collections: &mut Collections,
    batch: Batch,
    dimensions: usize,
) -> Vec<Collection> {
    let mut gone = Vec::new();
    for (name, change) in batch.collections {
        if change.dropped {
            gone.extend(collections.remove(&name));
        }
        if !change.exists {
            continue;
        }
        let collection = collections.entry(name).or_insert_with(|| Collection::new(dimensions));
        for (id, document) in change.documents {
            collection.replace(id, document);
        }
        collection.set_epoch(change.statistics, change.changed_chunks);
    }
    gone
}

impl CollectionChange {
    /// Removes the changes that `base` already contains, and starts an epoch if one is due.
    fn settle(&mut self, base: Option<&Collection>, up_to: Position) {
        self.documents.retain(|id, new| match (base, new) {
            (Some(base), Some(new)) => !base.holds(id, new),
            (Some(base), None) => base.chunks_of(id).is_some(),
            (None, new) => new.is_some(),
        });
        let removed =
            |id| base.and_then(|base| base.chunks_of(id)).map_or(0, |chunks| chunks.len());
        let written = |new: &Option<NewDocument>| new.as_ref().map_or(0, |new| new.chunks.len());
        let changed: usize =
            self.documents.iter().map(|(id, new)| removed(id) + written(new)).sum();
        let total = base.map_or(0, Collection::changed_chunks) + changed as u64;
        let outdated = base.is_none_or(|base| base.statistics().is_outdated_by(total));
        if self.exists && outdated {
            self.statistics = Some(Arc::new(self.roll(base, up_to)));
        } else {
            self.changed_chunks = total;
        }
    }

    /// The statistics of `base` with these documents.
    fn roll(&self, base: Option<&Collection>, epoch: Position) -> Statistics {
        let mut document_frequency =
            base.map(|base| base.postings().document_frequency()).unwrap_or_default();
        let mut chunks = base.map_or(0, Collection::chunks);
        let mut total_terms = base.map_or(0, |base| base.postings().total_terms());
        for (id, new) in &self.documents {
            for terms in base.and_then(|base| base.chunks_of(id)).into_iter().flatten() {
                chunks -= 1;
                for (term, count) in terms {
                    total_terms -= u64::from(count);
                    if let Some(frequency) = document_frequency.get_mut(term) {
                        *frequency -= 1;
                    }
                }
            }
            for chunk in new.iter().flat_map(|new| &new.chunks) {
                chunks += 1;
                total_terms += u64::from(postings::length(chunk.terms.iter().map(|(_, n)| *n)));
                for (term, _) in &chunk.terms {
                    *document_frequency.entry(Arc::clone(term)).or_insert(0) += 1;
                }
            }
        }
        document_frequency.retain(|_, frequency| *frequency > 0);
        let average_terms = if chunks == 0 { 0.0 } else { total_terms as f64 / chunks as f64 };
        Statistics { epoch, chunks, average_terms, document_frequency }
    }
}

/// Checks that the index can hold `new`. A failure is a bug in Weir or, if the document comes from
/// the file, damage.
pub(super) fn check(
    document: &DocumentId,
    new: &NewDocument,
    dimensions: usize,
) -> Result<(), VectorError> {
    for chunk in &new.chunks {
        let vector = &chunk.embedding.0;
        let fault = if vector.len() != dimensions {
            "a vector with the wrong number of components"
        } else if !vector.iter().all(|component| component.is_finite()) {
            "a vector that is not finite"
        } else if !chunk.terms.is_sorted_by(|(a, _), (b, _)| a < b) {
            "terms that are not sorted and distinct"
        } else if new.content.text.get(chunk.start as usize..chunk.end as usize).is_none() {
            "a range that is not in the text"
        } else {
            continue;
        };
        let reason = format!("a chunk of the document '{document}' has {fault}");
        return Err(VectorError::Failed(reason));
    }
    Ok(())
}
