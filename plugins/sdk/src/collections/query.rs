//! What a search asks for.

use crate::bindings::pipeline::weir::vector::types as wit;
use crate::embedding::Embedding;

/// A search. With [`nearest`](Query::nearest) it is dense, with [`text`](Query::text) it is
/// keyword, and with both it is hybrid. The host refuses a search with neither.
#[derive(Debug)]
#[must_use]
pub struct Query<'a> {
    nearest: Option<&'a Embedding>,
    text: Option<String>,
    filter: Option<Filter>,
    minimum_score: Option<f32>,
    unit: Unit,
    limit: u32,
    offset: u32,
}

impl<'a> Query<'a> {
    /// A query for at most `limit` documents.
    pub fn new(limit: u32) -> Self {
        Self {
            nearest: None,
            text: None,
            filter: None,
            minimum_score: None,
            unit: Unit::Document,
            limit,
            offset: 0,
        }
    }

    /// Ranks by the cosine with this vector.
    pub fn nearest(mut self, embedding: impl Into<Option<&'a Embedding>>) -> Self {
        self.nearest = embedding.into();
        self
    }

    /// Ranks by these words.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Finds only documents that pass the filter.
    pub fn filter(mut self, filter: impl Into<Option<Filter>>) -> Self {
        self.filter = filter.into();
        self
    }

    /// Leaves out hits with a lower score.
    pub fn minimum_score(mut self, score: impl Into<Option<f32>>) -> Self {
        self.minimum_score = score.into();
        self
    }

    /// What counts as one hit. The default is a document.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Skips this many of the best hits.
    pub fn offset(mut self, offset: u32) -> Self {
        self.offset = offset;
        self
    }

    pub(super) fn into_wit(self) -> wit::Query<'a> {
        wit::Query {
            nearest: self.nearest.map(|embedding| &embedding.0),
            text: self.text,
            filter: self.filter.map(Filter::into_wit),
            minimum_score: self.minimum_score,
            unit: match self.unit {
                Unit::Document => wit::Unit::Document,
                Unit::Chunk => wit::Unit::Chunk,
            },
            limit: self.limit,
            offset: self.offset,
        }
    }
}

/// What a search counts as one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A document, represented by its best chunk.
    Document,
    /// A chunk.
    Chunk,
}

/// Which documents a search can find. The default is all of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of these hold.
    pub must: Vec<Condition>,
    /// If there are any, at least one of these holds.
    pub should: Vec<Condition>,
    /// None of these holds.
    pub must_not: Vec<Condition>,
}

impl Filter {
    /// Adds a condition that must hold.
    #[must_use]
    pub fn must(mut self, field: impl Into<String>, predicate: Predicate) -> Self {
        self.must.push(Condition { field: field.into(), predicate });
        self
    }

    /// Adds an alternative: of all alternatives, at least one must hold.
    #[must_use]
    pub fn should(mut self, field: impl Into<String>, predicate: Predicate) -> Self {
        self.should.push(Condition { field: field.into(), predicate });
        self
    }

    /// Adds a condition that must not hold.
    #[must_use]
    pub fn must_not(mut self, field: impl Into<String>, predicate: Predicate) -> Self {
        self.must_not.push(Condition { field: field.into(), predicate });
        self
    }

    fn into_wit(self) -> wit::Filter {
        let list = |list: Vec<Condition>| list.into_iter().map(Condition::into_wit).collect();
        wit::Filter {
            must: list(self.must),
            should: list(self.should),
            must_not: list(self.must_not),
        }
    }
}

/// A predicate on one field of a document's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The field's name. Dots step into objects.
    pub field: String,
    /// What the field must pass.
    pub predicate: Predicate,
}

impl Condition {
    fn into_wit(self) -> wit::Condition {
        let predicate = match self.predicate {
            Predicate::Equals(value) => wit::Predicate::Equals(value.into_wit()),
            Predicate::AnyOf(values) => {
                wit::Predicate::AnyOf(values.into_iter().map(Value::into_wit).collect())
            }
            Predicate::AtLeast(number) => wit::Predicate::AtLeast(number),
            Predicate::AtMost(number) => wit::Predicate::AtMost(number),
            Predicate::Exists => wit::Predicate::Exists,
        };
        wit::Condition { field: self.field, predicate }
    }
}

/// A test of a field. If the field is an array, one element must pass, except for
/// [`Exists`](Self::Exists).
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The field equals the value.
    Equals(Value),
    /// The field equals one of the values.
    AnyOf(Vec<Value>),
    /// The field is a number, and at least this.
    AtLeast(f64),
    /// The field is a number, and at most this.
    AtMost(f64),
    /// The field exists and is not null.
    Exists,
}

/// A value in a condition. Integers and numbers are compared as numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number without a fraction.
    Integer(i64),
    /// Any number.
    Number(f64),
    /// `true` or `false`.
    Boolean(bool),
}

impl Value {
    fn into_wit(self) -> wit::Value {
        match self {
            Self::Text(text) => wit::Value::Text(text),
            Self::Integer(integer) => wit::Value::Integer(integer),
            Self::Number(number) => wit::Value::Number(number),
            Self::Boolean(boolean) => wit::Value::Boolean(boolean),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}
