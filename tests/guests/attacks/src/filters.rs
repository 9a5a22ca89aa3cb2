//! Searches with filters that are as large as they may be and hold for nothing: to know, the host has to
//! look at all metadata. One search after the other, because a search that is given up ends early.

use weir_sdk::Failure;
use weir_sdk::collections::{Collection, Filter, Predicate, Query, Value as Operand, VectorError};
use weir_sdk::serde_json::{Value, json};

/// As many conditions as a filter may have, and values in each of them.
const MOST: i64 = 64;

/// `{"collection", "text", "searches"}`: so many searches for a text that documents have. Answers how
/// many of them were too costly, which all must be.
pub(crate) async fn search(body: &Value) -> Result<Value, Failure> {
    let collection = Collection::open(body["collection"].as_str().unwrap_or_default())?;
    let values: Vec<_> = (1..=MOST).map(|number| Operand::Integer(-number)).collect();
    let filter = (0..MOST).fold(Filter::default(), |filter, _| {
        filter.should("many", Predicate::AnyOf(values.clone()))
    });
    let mut too_costly = 0;
    let text = body["text"].as_str().unwrap_or_default();
    for number in 0..body["searches"].as_u64().unwrap_or_default() {
        let query = Query::new(10).text(format!("{text} {number}")).filter(filter.clone());
        match collection.search(query).await {
            Err(VectorError::TooCostly) => too_costly += 1,
            Err(error) => return Err(error.into()),
            Ok(_) => return Err(Failure::failed("not-costly", "a filter was not too costly")),
        }
    }
    Ok(json!(too_costly))
}
