//! Tests of the truth, each on a real file in its own folder.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use tempfile::TempDir;

use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};

use super::SqliteTruth;
use crate::{
    Change, ChangeKind, Committed, IdempotencyKey, KeptStatistics, Limits, NewDocument, Quota,
    Truth, TruthError,
};

mod file;
mod history;
mod idempotency;
mod invalidations;
mod last_changes;
mod memory;
mod migration;
mod model;
mod model_change;
mod quota;
mod reads;
mod set_aside;
mod statistics;
mod trim;
mod writes;

/// Limits that no test reaches by accident.
const LIMITS: Limits = Limits { max_backlog_bytes: 1 << 30, quota: Quota::NONE };

/// A truth with the collection `docs`, created at position 1.
struct Fixture {
    truth: SqliteTruth,
    docs: Name,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let truth = SqliteTruth::open(folder.path(), LIMITS).await.unwrap();
        let docs = name("docs");
        truth.create_collection(&docs).await.unwrap();
        Self { truth, docs, folder }
    }

    async fn put(&self, documents: Vec<NewDocument>) -> Result<Committed, TruthError> {
        self.truth.put(&self.docs, documents, None).await
    }

    /// Puts one document, and returns its position.
    async fn put_one(&self, id: &str, text: &str) -> Position {
        self.put(vec![document(id, text)]).await.unwrap().commit.position
    }

    async fn put_under(&self, key: &IdempotencyKey, text: &str) -> Result<Committed, TruthError> {
        self.truth.put(&self.docs, vec![document("a", text)], Some(key.clone())).await
    }

    async fn text(&self, id: &str) -> Option<String> {
        let (document, _) = self.truth.document(&self.docs, &doc(id)).await.unwrap();
        document.map(|document| document.text.to_string())
    }

    async fn position(&self) -> u64 {
        self.truth.head().await.unwrap().position.0
    }

    /// The log of `docs` after a position, with each line as `position what`.
    async fn log(&self, after: u64, limit: u32) -> Vec<String> {
        let changes = self.truth.log(&self.docs, Position(after), limit).await.unwrap();
        changes.iter().map(line).collect()
    }

    /// Keeps statistics for the roll of `docs` at a position, so that it can be trimmed.
    async fn keep(&self, epoch: u64) {
        let statistics = KeptStatistics { epoch: Position(epoch), encoded: vec![1, 2, 3] };
        self.truth.keep_statistics(&self.docs, statistics).await.unwrap();
    }

    async fn trim(&self, to: u64) -> u64 {
        self.truth.trim(Position(to)).await.unwrap().position.0
    }
}

fn line(change: &Change) -> String {
    let what = match &change.kind {
        ChangeKind::CollectionCreated => "created".to_owned(),
        ChangeKind::CollectionDeleted => "deleted".to_owned(),
        ChangeKind::DocumentPut(id) => format!("+{id}"),
        ChangeKind::DocumentDeleted(id) => format!("-{id}"),
        ChangeKind::Rolled => "rolled".to_owned(),
        ChangeKind::ModelChanged => "model".to_owned(),
    };
    format!("{} {what}", change.commit.position)
}

fn position(commit: Commit) -> u64 {
    commit.position.0
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn doc(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

/// A document whose only chunk is its whole text.
fn document(id: &str, text: &str) -> NewDocument {
    let end = u32::try_from(text.len()).unwrap();
    let chunk = 0..end;
    NewDocument {
        id: doc(id),
        text: text.into(),
        metadata: "{}".into(),
        chunks: vec![chunk],
        split_by: "m1".into(),
    }
}
