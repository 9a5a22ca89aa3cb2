//! What a search may cost: one that takes too much is refused, and others go on.

use super::*;
use crate::filter::{MAX_ALL_VALUES, MAX_CONDITIONS};

/// A store whose `documents` have an array of so many numbers each, from the document's own number.
async fn with_arrays(documents: u32, numbers: u32) -> Arc<dyn Snapshot> {
    let store = ExactStore::in_memory(DIMENSIONS);
    let document = |n: u32| {
        let (id, document) = put(&format!("{n:03}"), 1, vec![chunk("wing", [1.0, 0.0, 0.0])]);
        let metadata = json!({ "many": (n..n + numbers).collect::<Vec<_>>() }).to_string();
        let mut document = document.unwrap();
        let text = Arc::clone(&document.content.text);
        document.content = Content::new(text, metadata.into()).unwrap().into();
        (id, Some(document))
    };
    store.apply(page(1, (0..documents).map(document).collect())).await.unwrap().unwrap()
}

/// A search of the documents whose arrays have one of `values`, said so often.
fn any_of(values: std::ops::Range<i64>, times: usize) -> Query {
    let predicate = Predicate::AnyOf(values.map(Value::Integer).collect());
    let condition = Condition { field: "many".into(), predicate };
    let filter = Filter { should: vec![condition; times], ..Filter::default() };
    Query { filter: Some(filter), ..words("wing") }
}

#[tokio::test]
async fn a_search_that_takes_too_many_steps_is_refused_and_others_go_on() {
    let snapshot = with_arrays(64, 8_000).await;
    let each = (MAX_ALL_VALUES / MAX_CONDITIONS) as i64;
    let bomb = any_of(-each..0, MAX_CONDITIONS);
    let cores = std::thread::available_parallelism().unwrap().get();
    let bombs = (0..2 * cores).map(|_| search(&*snapshot, bomb.clone()));
    let refused = futures::future::join_all(bombs).await;
    assert!(refused.iter().all(|answer| *answer == Err(VectorError::TooCostly)), "{refused:?}");
    assert_eq!(search(&*snapshot, words("wing")).await.unwrap().len(), 64);
}

#[tokio::test]
async fn a_search_that_is_too_long_for_an_async_thread_is_done_on_another() {
    let snapshot = with_arrays(64, 2_000).await;
    let found = search(&*snapshot, any_of(0..10, 1)).await.unwrap();
    let found: Vec<_> = found.iter().map(|hit| hit.document.as_str()).collect();
    let expected: Vec<_> = (0..10).map(|n| format!("{n:03}")).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_search_ends_at_its_deadline() {
    let snapshot = with_arrays(64, 8_000).await;
    let late = snapshot.search(any_of(-1..0, 10), Instant::now(), &account()).await;
    assert_eq!(late, Err(VectorError::TimedOut));
}
