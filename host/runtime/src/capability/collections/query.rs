//! Converts a guest's query to the host's own types.

use weir_bindings::pipeline::weir::vector::types::{
    Condition, Filter, Predicate, Query, Unit, Value,
};
use weir_embedding::Embedding;
use weir_search as backend;
use weir_search::filter;

/// The query in the host's types, with the vector that the caller has looked up.
pub(super) fn backend_query(nearest: Option<Embedding>, query: Query) -> backend::Query {
    backend::Query {
        nearest,
        text: query.text,
        filter: query.filter.map(backend_filter),
        minimum_score: query.minimum_score,
        unit: match query.unit {
            Unit::Document => backend::Unit::Document,
            Unit::Chunk => backend::Unit::Chunk,
        },
        limit: query.limit,
        offset: query.offset,
    }
}

fn backend_filter(filter: Filter) -> filter::Filter {
    let conditions = |list: Vec<Condition>| {
        list.into_iter()
            .map(|condition| filter::Condition {
                field: condition.field,
                predicate: backend_predicate(condition.predicate),
            })
            .collect()
    };
    filter::Filter {
        must: conditions(filter.must),
        should: conditions(filter.should),
        must_not: conditions(filter.must_not),
    }
}

fn backend_predicate(predicate: Predicate) -> filter::Predicate {
    match predicate {
        Predicate::Equals(value) => filter::Predicate::Equals(backend_value(value)),
        Predicate::AnyOf(values) => {
            filter::Predicate::AnyOf(values.into_iter().map(backend_value).collect())
        }
        Predicate::AtLeast(number) => filter::Predicate::AtLeast(number),
        Predicate::AtMost(number) => filter::Predicate::AtMost(number),
        Predicate::Exists => filter::Predicate::Exists,
    }
}

fn backend_value(value: Value) -> filter::Value {
    match value {
        Value::Text(text) => filter::Value::Text(text),
        Value::Integer(integer) => filter::Value::Integer(integer),
        Value::Number(number) => filter::Value::Number(number),
        Value::Boolean(boolean) => filter::Value::Boolean(boolean),
    }
}
