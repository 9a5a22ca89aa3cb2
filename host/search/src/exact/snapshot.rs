//! What readers hold: one state of a collection, and the right to search it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, MAX_STEPS};
use crate::keyword::Statistics;
use crate::plan::{Plan, answer};
use crate::{Content, Hit, Query, Snapshot, VectorError};
use weir_core::Position;
use weir_core::name::DocumentId;

use super::collection::Collection;
use super::failed;

/// Larger collections are searched off the async threads: this many vectors of 384 components
/// take 0.15 ms (10,000 take 0.9 ms).
const ROWS_SEARCHED_INLINE: usize = 2_000;
/// So are smaller ones where the search takes more steps than this: it begins again there.
const STEPS_INLINE: u64 = 20_000;

#[derive(Clone, Debug)]
pub(super) struct CollectionSnapshot {
    pub(super) collection: Arc<Collection>,
    /// The store's: lets one search of a large collection per core run at a time; the others wait
    /// here, where they can be cancelled.
    pub(super) searches: Arc<Semaphore>,
}

#[async_trait]
impl Snapshot for CollectionSnapshot {
    async fn search(&self, query: Query, deadline: Instant) -> Result<Vec<Hit>, VectorError> {
        let plan = Plan::new(query, self.collection.dimensions())?;
        let abandoned = CancellationToken::new();
        if self.collection.rows() <= ROWS_SEARCHED_INLINE {
            let budget = Budget::new(STEPS_INLINE, deadline, abandoned.clone());
            match answer(&plan, &*self.collection, &budget) {
                Err(VectorError::TooCostly) => {}
                answered => return answered,
            }
        }
        let permit = Arc::clone(&self.searches).acquire_owned().await.map_err(failed)?;
        let collection = Arc::clone(&self.collection);
        let budget = Budget::new(MAX_STEPS, deadline, abandoned.clone());
        // The search stops if this future is dropped.
        let _abandoned = abandoned.drop_guard();
        let search = move || {
            // Held until the search has stopped.
            let _permit = permit;
            answer(&plan, &*collection, &budget)
        };
        tokio::task::spawn_blocking(search).await.map_err(failed)?
    }

    fn document(&self, id: &DocumentId) -> Option<(Position, Arc<Content>)> {
        self.collection.document(id)
    }

    fn documents(&self) -> u64 {
        self.collection.documents() as u64
    }

    fn statistics(&self) -> &Arc<Statistics> {
        self.collection.shared_statistics()
    }
}
