//! A collection as it was where the log begins: what an index starts from that does not have
//! what was trimmed.

use std::sync::Arc;

use weir_core::Commit;
use weir_core::name::{DocumentId, Name};

use super::index::index;
use super::page::Prepared;
use super::{CatchUpError, Shared};
use crate::keyword::Statistics;
use crate::{Base, Epoch, IndexPage};

/// How many documents are read at once.
const SCANNED: u32 = 256;
/// How often the log tells how far it is, in documents.
const PROGRESS: usize = 2_560;

/// The whole collection at the commit, which is the one up to which the truth is trimmed.
///
/// The page is held in memory until it is complete, as its snapshot will be: a crash before that
/// begins again.
pub(super) async fn prepare(
    shared: &Shared,
    collection: &Name,
    at: Commit,
) -> Result<Prepared, CatchUpError> {
    let gone = || Prepared {
        page: IndexPage {
            collection: collection.clone(),
            up_to: at,
            base: Base::Gone,
            documents: Vec::new(),
            epoch: Epoch::Kept,
        },
        lines: Vec::new(),
    };
    let mut documents = Vec::new();
    let mut after: Option<DocumentId> = None;
    loop {
        let page = shared.truth.scan(collection, at.position, after.as_ref(), SCANNED).await?;
        let Some(page) = page else { return Ok(gone()) };
        let Some(last) = page.last().map(|document| document.id.clone()) else { break };
        after = Some(last);
        let indexed = index(shared, collection, page).await?;
        documents.extend(indexed.into_iter().map(|(id, document)| (id, Some(document))));
        if documents.len() % PROGRESS == 0 {
            let collection = collection.as_str();
            tracing::info!(collection, documents = documents.len(), "rebuilding the search index");
        }
    }
    let page = IndexPage {
        collection: collection.clone(),
        up_to: at,
        base: Base::Empty,
        documents,
        epoch: epoch(shared, collection, at).await?,
    };
    Ok(Prepared { page, lines: Vec::new() })
}

/// The statistics at the commit. If the truth has none, because it is from a release that kept
/// none, the commit counts as a roll.
async fn epoch(shared: &Shared, collection: &Name, at: Commit) -> Result<Epoch, CatchUpError> {
    match shared.truth.statistics_at(collection, at.position).await? {
        None => Ok(Epoch::Rolled),
        Some(kept) => Statistics::decode(&kept.encoded)
            .map(|statistics| Epoch::Given(Arc::new(statistics)))
            .map_err(|_| CatchUpError::DamagedStatistics(collection.clone())),
    }
}
