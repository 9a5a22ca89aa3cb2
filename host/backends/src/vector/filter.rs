//! Which documents may be found: conditions on their metadata, the same for every engine.

/// All of `must`, at least one of `should` if there are any, none of `must_not`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// All of these hold.
    pub must: Vec<Condition>,
    /// At least one of these holds, if there are any.
    pub should: Vec<Condition>,
    /// None of these holds.
    pub must_not: Vec<Condition>,
}

/// A predicate on one field of a document's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The field; dots step into objects.
    pub field: String,
    /// What must hold of it; of an array, for any of its elements.
    pub predicate: Predicate,
}

/// What a field is tested for.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The field is the value.
    Equals(Value),
    /// The field is one of the values.
    AnyOf(Vec<Value>),
    /// The field is a number, and at least this.
    AtLeast(f64),
    /// The field is a number, and at most this.
    AtMost(f64),
    /// The field is there and not null.
    Exists,
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A boolean.
    Boolean(bool),
}
