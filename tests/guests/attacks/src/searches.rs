//! Begins many searches with large filters, and answers without waiting for any of them.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use weir_sdk::Failure;
use weir_sdk::collections::{
    Collection, Filter, Hits, Predicate, Query, Value as Operand, VectorError,
};
use weir_sdk::serde_json::{Value, json};

type Search<'a> = Pin<Box<dyn Future<Output = Result<Hits, VectorError>> + 'a>>;

/// `{"collection", "searches", "values", "value_bytes"}`: so many searches, each with a filter of so
/// many values of that size. Answers how many were refused, and how many ended at once.
pub(crate) async fn not_awaited(body: &Value) -> Result<Value, Failure> {
    let number = |name: &str| body[name].as_u64().unwrap_or_default() as usize;
    let collection = Collection::open(body["collection"].as_str().unwrap_or_default())?;
    let filter = || {
        let operand = |n| Operand::Text(format!("{n:0>width$}", width = number("value_bytes")));
        let values = (0..number("values")).map(operand).collect();
        Filter::default().must("many", Predicate::AnyOf(values))
    };
    let search = |n: usize| {
        let query = Query::new(10).text(format!("boats {n}")).filter(filter());
        Box::pin(collection.search(query)) as Search<'_>
    };
    let (mut open, mut refused, mut ended) = (Vec::new(), 0, 0);
    for n in 0..number("searches") {
        let mut search = search(n);
        // Begins it.
        let begun = poll_fn(|context| Poll::Ready(search.as_mut().poll(context))).await;
        match begun {
            Poll::Pending => open.push(search),
            Poll::Ready(Ok(_)) => ended += 1,
            Poll::Ready(Err(_)) => refused += 1,
        }
    }
    Ok(json!({ "open": open.len(), "refused": refused, "ended": ended }))
}
