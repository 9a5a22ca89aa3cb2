//! Makes documents into what is indexed: their chunks are embedded, and their terms extracted.
//!
//! Documents are embedded in groups. If a group fails, its documents are tried alone, and each
//! that fails as often as [`ATTEMPTS`] is set aside: its version is marked in the truth, and is
//! indexed without chunks. An embedder that is broken is not the documents' fault: after each
//! attempt it has to embed a probe, and if it cannot, the page has failed, and nothing is set
//! aside.
//!
//! The mark is made before anybody sees the version. So what the index makes of a version is in
//! the truth, and is the same in every index. An index that is rebuilt may set aside a version
//! that an earlier one had embedded; answers are then stated only from the mark's commit on.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::sleep;
use weir_core::crash::{self, Point};
use weir_core::name::{DocumentId, Name};
use weir_embedding::{EmbedError, Embedder, Embedding, Origin, Texts, chunks};
use weir_store::{Document, chunk_text};

use super::{Backoff, CatchUpError, Shared};
use crate::{Content, IndexedChunk, IndexedDocument, keyword};

/// The most chunks given to the embedder at once, and the most documents gathered for it. Small
/// enough that another collection's documents do not wait long behind a group.
const GROUP: usize = 32;
/// How often a document is tried alone, with pauses in between, before it is set aside.
const ATTEMPTS: u32 = 3;
/// A text that every embedder can embed unless it is broken.
pub(super) const PROBE: &str = "probe";
/// The most bytes of the reason that is kept with a document that is set aside.
const MAX_REASON_BYTES: usize = 300;

/// Where a chunk is in its document, its vector and its terms.
type Chunk = (Range<u32>, Embedding, Vec<(Arc<str>, u32)>);

/// Embeds the documents of a collection and extracts their terms, in order.
pub(super) async fn index(
    shared: &Shared,
    collection: &Name,
    documents: Vec<Document>,
) -> Result<Vec<(DocumentId, IndexedDocument)>, CatchUpError> {
    let mut indexed = Vec::with_capacity(documents.len());
    let mut documents = documents.into_iter().peekable();
    while documents.peek().is_some() {
        let (mut group, mut chunks) = (Vec::new(), 0);
        while group.len() < GROUP
            && chunks < GROUP
            && let Some(document) = documents.next()
        {
            chunks += document.chunks.len();
            group.push(document);
        }
        let chunks = match chunks_of(&shared.embedder, &shared.origin, &group).await {
            Ok(chunks) => chunks,
            Err(error) => {
                blame_documents(shared, error).await?;
                one_by_one(shared, collection, &group).await?
            }
        };
        for (document, chunks) in group.into_iter().zip(chunks) {
            indexed.push(indexed_document(document, chunks)?);
        }
    }
    Ok(indexed)
}

/// The chunks of each document, which is set aside if it cannot be embedded.
async fn one_by_one(
    shared: &Shared,
    collection: &Name,
    documents: &[Document],
) -> Result<Vec<Vec<Chunk>>, CatchUpError> {
    let mut chunks = vec![Vec::new(); documents.len()];
    let mut left: Vec<_> = (0..documents.len()).collect();
    let mut backoff = Backoff::default();
    for attempt in 1..=ATTEMPTS {
        let mut failed = Vec::new();
        for place in left {
            let document = &documents[place];
            match chunks_of(&shared.embedder, &shared.origin, slice::from_ref(document)).await {
                Ok(of) => chunks[place] = of.into_iter().flatten().collect(),
                Err(error) => {
                    let reason = reason(&error);
                    blame_documents(shared, error).await?;
                    let id = document.id.as_str();
                    tracing::debug!(document = id, attempt, reason, "cannot be embedded");
                    failed.push((place, reason));
                }
            }
        }
        if failed.is_empty() {
            break;
        }
        left = failed.iter().map(|(place, _)| *place).collect();
        if attempt < ATTEMPTS {
            sleep(backoff.failed()).await;
            continue;
        }
        for (place, reason) in failed {
            set_aside(shared, collection, &documents[place], &reason).await?;
        }
        break;
    }
    Ok(chunks)
}

/// Returns the error unless it is the fault of what was embedded: unless the embedder has room,
/// and embeds the probe.
async fn blame_documents(shared: &Shared, error: CatchUpError) -> Result<(), CatchUpError> {
    if matches!(error, CatchUpError::Embedding(EmbedError::Overloaded)) {
        return Err(error);
    }
    match embed(&*shared.embedder, &shared.origin, &[PROBE.into()]).await {
        Ok(_) => Ok(()),
        Err(_) => Err(error),
    }
}

/// Marks the version in the truth.
async fn set_aside(
    shared: &Shared,
    collection: &Name,
    document: &Document,
    reason: &str,
) -> Result<(), CatchUpError> {
    let Document { id, version, .. } = document;
    let commit = shared.truth.set_aside(collection, id, *version, reason).await?;
    crash::at(Point::AfterMark);
    // An earlier index may have shown this version with its chunks.
    if shared.progress.read(|view| *version <= view.required()) {
        shared.progress.require(commit.position);
    }
    let (collection, id, version) = (collection.as_str(), id.as_str(), version.0);
    tracing::warn!(collection, document = id, version, reason, "a document is set aside");
    Ok(())
}

/// What a person reads about the error, bounded.
fn reason(error: &CatchUpError) -> String {
    let mut reason = error.to_string();
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    reason
}

/// The chunks of each document, embedded together. One that is set aside has none.
async fn chunks_of(
    embedder: &Arc<dyn Embedder>,
    origin: &Origin,
    documents: &[Document],
) -> Result<Vec<Vec<Chunk>>, CatchUpError> {
    let (mut ranges, mut texts, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for document in documents.iter() {
        let before = texts.len();
        for chunk in ranges_of(embedder, document).await? {
            let text = chunk_text(&document.text, &chunk)
                .ok_or_else(|| CatchUpError::Damaged(document.id.clone()))?;
            texts.push(Arc::from(text));
            ranges.push(chunk);
        }
        counts.push(texts.len() - before);
    }
    let mut embeddings = Vec::with_capacity(texts.len());
    for texts in texts.chunks(GROUP) {
        embeddings.extend(embed(&**embedder, origin, texts).await?);
    }
    // Stemming takes too long for a thread that serves requests.
    let terms = tokio::task::spawn_blocking(move || {
        texts.iter().map(|text| keyword::terms(text)).collect::<Vec<_>>()
    })
    .await
    .map_err(|_| CatchUpError::Panicked)?;
    let mut chunks = ranges
        .into_iter()
        .zip(embeddings)
        .zip(terms)
        .map(|((range, embedding), terms)| (range, embedding, terms));
    Ok(counts.into_iter().map(|count| chunks.by_ref().take(count).collect()).collect())
}

/// The chunks of a document, which is split again if another model has split it. None if it is set
/// aside.
async fn ranges_of(
    embedder: &Arc<dyn Embedder>,
    document: &Document,
) -> Result<Vec<Range<u32>>, CatchUpError> {
    if document.set_aside.is_some() {
        return Ok(Vec::new());
    }
    if *document.split_by == *embedder.model_digest() {
        return Ok(document.chunks.clone());
    }
    let (embedder, text) = (Arc::clone(embedder), Arc::clone(&document.text));
    tokio::task::spawn_blocking(move || chunks::split(&text, &*embedder))
        .await
        .map_err(|_| CatchUpError::Panicked)
}

/// Embeds the texts, and checks that an index can hold the vectors.
async fn embed(
    embedder: &dyn Embedder,
    origin: &Origin,
    texts: &[Arc<str>],
) -> Result<Vec<Embedding>, CatchUpError> {
    if texts.iter().any(|text| crash::refuses(text)) {
        return Err(EmbedError::Failed("a text is refused".to_owned()).into());
    }
    let call = Texts::new(texts.iter().map(Arc::clone));
    let embedded = AssertUnwindSafe(async { embedder.embed(&call, origin).await });
    let embedded = embedded.catch_unwind().await.map_err(|_| CatchUpError::EmbedderPanicked)??;
    if embedded.len() != texts.len() {
        return Err(CatchUpError::Miscounted { asked: texts.len(), got: embedded.len() });
    }
    let dimensions = embedder.dimensions();
    let embedded: Vec<_> = embedded.into_iter().map(|embedded| embedded.vector).collect();
    for Embedding(vector) in &embedded {
        if vector.len() != dimensions || !vector.iter().all(|component| component.is_finite()) {
            return Err(CatchUpError::InvalidVector { dimensions });
        }
    }
    Ok(embedded)
}

fn indexed_document(
    document: Document,
    chunks: Vec<Chunk>,
) -> Result<(DocumentId, IndexedDocument), CatchUpError> {
    let content = Content::new(document.text, document.metadata)
        .map_err(|_| CatchUpError::Damaged(document.id.clone()))?;
    let chunks = chunks.into_iter().map(|(range, embedding, terms)| IndexedChunk {
        start: range.start,
        end: range.end,
        embedding,
        terms,
    });
    let indexed = IndexedDocument {
        version: document.version,
        chunks: chunks.collect(),
        content: Arc::new(content),
    };
    Ok((document.id, indexed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let reason = |text: String| reason(&EmbedError::Failed(text).into()).len();
        let prefix = reason(String::new());
        for (text, length) in [
            ("x".repeat(10), prefix + 10),
            ("x".repeat(MAX_REASON_BYTES - prefix), MAX_REASON_BYTES),
            ("x".repeat(MAX_REASON_BYTES), MAX_REASON_BYTES),
            (format!("{}\u{e4}", "x".repeat(MAX_REASON_BYTES - prefix - 1)), MAX_REASON_BYTES - 1),
        ] {
            assert_eq!(reason(text.clone()), length, "{text}");
        }
    }
}
