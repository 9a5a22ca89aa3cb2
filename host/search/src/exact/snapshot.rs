//! What readers hold: one state of a collection, and the right to search it.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::budget::{Budget, MAX_STEPS};
use crate::keyword::Statistics;
use crate::plan::{Plan, answer};
use crate::{Content, Hit, Query, Snapshot, VectorError};
use weir_core::Position;
use weir_core::name::DocumentId;
use weir_limits::threads::Account;

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
}

#[async_trait]
impl Snapshot for CollectionSnapshot {
    async fn search(
        &self,
        query: Query,
        deadline: Instant,
        account: &Account,
    ) -> Result<Vec<Hit>, VectorError> {
        let plan = Plan::new(query, self.collection.dimensions())?;
        let abandoned = CancellationToken::new();
        if self.collection.rows() <= ROWS_SEARCHED_INLINE {
            let budget = Budget::new(STEPS_INLINE, deadline, abandoned.clone());
            match answer(&plan, &*self.collection, &budget) {
                Err(VectorError::TooCostly) => {}
                answered => return answered,
            }
        }
        let collection = Arc::clone(&self.collection);
        let budget = Budget::new(MAX_STEPS, deadline, abandoned.clone());
        // If this future is dropped, the search is not begun, or stops.
        let _abandoned = abandoned.drop_guard();
        let search = account.spawn(async move { answer(&plan, &*collection, &budget) });
        search.ended().await.unwrap_or_else(|| Err(failed("the search was ended")))
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
