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
        if self.collection.rows() <= ROWS_SEARCHED_INLINE {
            let budget = Budget::new(STEPS_INLINE, deadline, CancellationToken::new());
            match answer(&plan, &*self.collection, &budget) {
                Err(VectorError::TooCostly) => {}
                answered => return answered,
            }
        }
        let collection = Arc::clone(&self.collection);
        elsewhere(account, deadline, move |budget| answer(&plan, &*collection, budget)).await
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

/// Searches on the threads of `account`. If this future is dropped, the search is not begun, or stops.
async fn elsewhere<T: Send + 'static>(
    account: &Account,
    deadline: Instant,
    search: impl FnOnce(&Budget) -> Result<T, VectorError> + Send + 'static,
) -> Result<T, VectorError> {
    let abandoned = CancellationToken::new();
    let budget = Budget::new(MAX_STEPS, deadline, abandoned.clone());
    let _abandoned = abandoned.drop_guard();
    let search = account.spawn(async move { search(&budget) });
    search.ended().await.unwrap_or_else(|| Err(failed("the search was ended")))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

    use std::time::Duration;

    use futures::poll;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::testing::account;

    #[tokio::test]
    async fn a_search_that_nobody_waits_for_stops() {
        let (began, has_begun) = oneshot::channel();
        let (ended, how) = oneshot::channel();
        let search = move |budget: &Budget| {
            began.send(()).unwrap();
            // As long as it may: a step at a time, until it is stopped.
            let error = std::iter::repeat_with(|| budget.pass(1)).find_map(Result::err).unwrap();
            ended.send(error).unwrap();
            Ok(())
        };
        let account = account();
        let deadline = Instant::now() + Duration::from_secs(3_600);
        let mut searching = Box::pin(elsewhere(&account, deadline, search));
        assert!(poll!(&mut searching).is_pending());
        has_begun.await.unwrap();
        drop(searching);
        let how = timeout(Duration::from_secs(60), how).await.expect("it goes on");
        assert_eq!(how.unwrap(), VectorError::TimedOut);
    }
}
