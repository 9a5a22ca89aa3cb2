//! Tests of the truth, each on a real file in its own folder.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use tempfile::TempDir;

use weir_core::Position;
use weir_core::name::{DocumentId, Name};

use super::SqliteTruth;
use crate::{Change, ChangeKind, Committed, IdempotencyKey, NewDocument, Truth, TruthError};

mod file;
mod idempotency;
mod reads;
mod writes;

/// A truth with the collection `docs`, created at position 1.
struct Fixture {
    truth: SqliteTruth,
    docs: Name,
    folder: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let truth = SqliteTruth::open(folder.path()).await.unwrap();
        let docs = name("docs");
        truth.create_collection(&docs).await.unwrap();
        Self { truth, docs, folder }
    }

    async fn put(&self, documents: Vec<NewDocument>) -> Result<Committed, TruthError> {
        self.truth.put(&self.docs, documents, None).await
    }

    /// Puts one document, and returns its position.
    async fn put_one(&self, id: &str, text: &str) -> Position {
        self.put(vec![document(id, text)]).await.unwrap().position
    }

    async fn put_under(&self, key: &IdempotencyKey, text: &str) -> Result<Committed, TruthError> {
        self.truth.put(&self.docs, vec![document("a", text)], Some(key.clone())).await
    }

    async fn text(&self, id: &str) -> Option<String> {
        let document = self.truth.document(&self.docs, &doc(id)).await.unwrap();
        document.map(|document| document.text.to_string())
    }

    async fn position(&self) -> u64 {
        self.truth.position().await.unwrap().0
    }

    /// The log after a position, with each entry as `position collection what`.
    async fn log(&self, after: u64, limit: u32) -> Vec<String> {
        let changes = self.truth.changes_after(Position(after), limit).await.unwrap();
        changes.iter().map(line).collect()
    }
}

fn line(change: &Change) -> String {
    let what = match &change.kind {
        ChangeKind::CollectionCreated => "created".to_owned(),
        ChangeKind::CollectionDeleted => "deleted".to_owned(),
        ChangeKind::DocumentPut(id) => format!("+{id}"),
        ChangeKind::DocumentDeleted(id) => format!("-{id}"),
    };
    format!("{} {} {what}", change.position, change.collection)
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
    NewDocument { id: doc(id), text: text.into(), metadata: "{}".into(), chunks: vec![chunk] }
}
