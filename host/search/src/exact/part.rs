//! A segment together with the documents in it that are dead: deleted or superseded.

use std::sync::Arc;

use weir_core::name::DocumentId;

use super::segment::{Document, Segment, SegmentBuilder};

/// Cheap to clone. Marking a document as dead copies the bitmap if others hold it, never the
/// segment.
#[derive(Clone, Debug)]
pub(super) struct Part {
    segment: Arc<Segment>,
    dead: Arc<Dead>,
}

#[derive(Clone, Debug, Default)]
struct Dead {
    /// One bit for each document of the segment; empty if all of them are alive.
    bits: Vec<u64>,
    documents: usize,
    rows: usize,
}

impl Dead {
    #[inline]
    fn contains(&self, document: usize) -> bool {
        self.bits.get(document / 64).is_some_and(|bits| bits >> (document % 64) & 1 == 1)
    }
}

impl Part {
    pub(super) fn new(segment: Segment) -> Self {
        Self { segment: Arc::new(segment), dead: Arc::default() }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// The documents that are alive.
    #[inline]
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        let documents = self.segment.documents().iter().enumerate();
        documents.filter(|(n, _)| !self.dead.contains(*n)).map(|(_, document)| document)
    }

    /// The document with this id, if it is alive.
    pub(super) fn find(&self, id: &DocumentId) -> Option<&Document> {
        let n = self.segment.find(id)?;
        (!self.dead.contains(n)).then(|| &self.segment.documents()[n])
    }

    /// Marks the document as dead. Returns whether it was here, and alive.
    pub(super) fn kill(&mut self, id: &DocumentId) -> bool {
        let Some(n) = self.segment.find(id).filter(|n| !self.dead.contains(*n)) else {
            return false;
        };
        let documents = self.segment.documents();
        let dead = Arc::make_mut(&mut self.dead);
        dead.bits.resize(documents.len().div_ceil(64), 0);
        dead.bits[n / 64] |= 1 << (n % 64);
        dead.documents += 1;
        dead.rows += documents[n].rows().len();
        true
    }

    pub(super) fn live_documents(&self) -> usize {
        self.segment.documents().len() - self.dead.documents
    }

    pub(super) fn live_rows(&self) -> usize {
        self.segment.rows() - self.dead.rows
    }

    /// What copying the part costs. Documents count, so that those without chunks do.
    pub(super) fn live_size(&self) -> usize {
        self.live_documents() + self.live_rows()
    }

    pub(super) fn dead_size(&self) -> usize {
        self.dead.documents + self.dead.rows
    }

    /// For each row, whether it is alive; `None` if all are.
    pub(super) fn liveness(&self) -> Option<Vec<bool>> {
        if self.dead.documents == 0 {
            return None;
        }
        let mut alive = vec![false; self.segment.rows()];
        for document in self.documents() {
            document.rows().for_each(|row| alive[row as usize] = true);
        }
        Some(alive)
    }
}

/// One part with what is alive in `parts`, which have no living document in common.
pub(super) fn merge(parts: &[Part], dimensions: usize) -> Part {
    /// Of a dead row.
    const NOWHERE: u32 = u32::MAX;
    let mut builder = SegmentBuilder::new(dimensions);
    let mut moved: Vec<_> = parts.iter().map(|part| vec![NOWHERE; part.segment.rows()]).collect();
    let mut heads: Vec<_> = parts.iter().map(|part| part.documents().peekable()).collect();
    loop {
        let first =
            heads.iter_mut().enumerate().filter_map(|(n, head)| Some((&head.peek()?.id, n)));
        let Some((_, n)) = first.min() else { break };
        let Some(document) = heads[n].next() else { break };
        for (row, to) in document.rows().zip(builder.next_row()..) {
            moved[n][row as usize] = to;
        }
        builder.copy(&parts[n].segment, document);
    }
    for (part, moved) in parts.iter().zip(&moved) {
        let to = |row| Some(moved[row as usize]).filter(|row: &u32| *row != NOWHERE);
        builder.copy_postings(&part.segment, to);
    }
    Part::new(builder.finish())
}
