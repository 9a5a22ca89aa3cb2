//! A part of a collection that never changes: documents sorted by id, their chunks as contiguous
//! rows, and their postings. Out of scope: which of the documents are dead, which a snapshot
//! knows (see `part`).

use std::ops::Range;
use std::sync::Arc;

use crate::budget::Budget;
use crate::keyword::WeightedTerm;
use crate::{Content, IndexedDocument, VectorError};
use weir_core::Position;
use weir_core::name::DocumentId;

use super::postings::{Postings, PostingsBuilder};

#[derive(Debug)]
pub(super) struct Segment {
    dimensions: usize,
    documents: Box<[Document]>,
    /// The vector of each row, one after another, so that a scan reads memory in order.
    vectors: Box<[f32]>,
    /// The byte range of each row's chunk in the text of its document.
    ranges: Box<[(u32, u32)]>,
    postings: Postings,
}

#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) id: DocumentId,
    pub(super) version: Position,
    pub(super) content: Arc<Content>,
    first_row: u32,
    end_row: u32,
}

impl Document {
    /// The rows of its chunks, in their order.
    #[inline]
    pub(super) fn rows(&self) -> Range<u32> {
        self.first_row..self.end_row
    }
}

impl Segment {
    /// Sorted by id.
    pub(super) fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The index of the document with this id.
    pub(super) fn find(&self, id: &DocumentId) -> Option<usize> {
        self.documents.binary_search_by(|document| document.id.cmp(id)).ok()
    }

    /// The number of rows, which are chunks.
    pub(super) fn rows(&self) -> usize {
        self.ranges.len()
    }

    #[inline]
    pub(super) fn vector(&self, row: u32) -> &[f32] {
        let start = row as usize * self.dimensions;
        &self.vectors[start..start + self.dimensions]
    }

    /// The byte range of the row's chunk.
    pub(super) fn range(&self, row: u32) -> (u32, u32) {
        self.ranges[row as usize]
    }

    /// The BM25 score of each row; zero if none of `terms` occurs.
    pub(super) fn scores(
        &self,
        terms: &[WeightedTerm],
        budget: &Budget,
    ) -> Result<Vec<f32>, VectorError> {
        self.postings.scores(terms, self.rows(), budget)
    }

    /// Each term, with the number of its rows for which `counts` is true.
    pub(super) fn frequencies(
        &self,
        counts: impl Fn(u32) -> bool,
    ) -> impl Iterator<Item = (&Arc<str>, u32)> {
        self.postings.frequencies(counts)
    }
}

/// A segment under construction. Documents are added in the order of their ids.
#[derive(Debug)]
pub(super) struct SegmentBuilder {
    dimensions: usize,
    documents: Vec<Document>,
    vectors: Vec<f32>,
    ranges: Vec<(u32, u32)>,
    postings: PostingsBuilder,
}

impl SegmentBuilder {
    pub(super) fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            documents: Vec::new(),
            vectors: Vec::new(),
            ranges: Vec::new(),
            postings: PostingsBuilder::default(),
        }
    }

    /// The last document that was added.
    pub(super) fn last(&self) -> Option<&DocumentId> {
        self.documents.last().map(|document| &document.id)
    }

    /// Adds a document that is checked, and comes after [`last`](Self::last).
    pub(super) fn add(&mut self, id: DocumentId, document: IndexedDocument) {
        debug_assert!(self.last().is_none_or(|last| *last < id));
        let IndexedDocument { version, content, chunks } = document;
        let first_row = self.next_row();
        for chunk in chunks {
            self.postings.add(self.next_row(), &chunk.terms);
            self.vectors.extend_from_slice(&chunk.embedding.0);
            self.ranges.push((chunk.start, chunk.end));
        }
        let end_row = self.next_row();
        self.documents.push(Document { id, version, content, first_row, end_row });
    }

    /// Adds a document of another segment, without its postings.
    pub(super) fn copy(&mut self, from: &Segment, document: &Document) {
        debug_assert!(self.last().is_none_or(|last| *last < document.id));
        let first_row = self.next_row();
        let rows = document.first_row as usize..document.end_row as usize;
        let vectors = rows.start * self.dimensions..rows.end * self.dimensions;
        self.vectors.extend_from_slice(&from.vectors[vectors]);
        self.ranges.extend_from_slice(&from.ranges[rows]);
        self.documents.push(Document { first_row, end_row: self.next_row(), ..document.clone() });
    }

    /// Adds the postings of another segment, with the row that `moved` gives for each; without
    /// those that it gives none for.
    pub(super) fn copy_postings(&mut self, from: &Segment, moved: impl Fn(u32) -> Option<u32>) {
        self.postings.copy(&from.postings, moved);
    }

    /// The row of the next chunk.
    pub(super) fn next_row(&self) -> u32 {
        self.ranges.len() as u32
    }

    pub(super) fn finish(self) -> Segment {
        Segment {
            dimensions: self.dimensions,
            documents: self.documents.into(),
            vectors: self.vectors.into(),
            ranges: self.ranges.into(),
            postings: self.postings.finish(),
        }
    }
}
