//! Which documents can be found: conditions on their metadata, the same for every engine.
//!
//! [`Filter::matches`] defines what a filter means; a [`Compiled`] one is fast. An engine that has
//! its own filters converts to those, and is tested against this definition. Out of scope: full-text
//! conditions, and paths through arrays of objects.

use std::cmp::Ordering;

use serde_json::Value as Json;
use thiserror::Error;

mod compiled;

pub use self::compiled::Compiled;

/// The most conditions in a filter, counted over its three lists.
pub const MAX_CONDITIONS: usize = 64;
/// The longest field name, in bytes.
pub const MAX_FIELD_BYTES: usize = 256;
/// The most values in one [`Predicate::AnyOf`].
pub const MAX_VALUES: usize = 1024;
/// The most values in a filter.
pub const MAX_ALL_VALUES: usize = 4096;
/// The most bytes of all texts in a filter.
pub const MAX_TEXT_BYTES: usize = 256 << 10;

/// All of `must` hold, at least one of `should` if there are any, and none of `must_not`.
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
    /// What the field must satisfy. If the field is an array, one of its elements must satisfy
    /// it, except for [`Predicate::Exists`].
    pub predicate: Predicate,
}

/// A test of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Predicate {
    /// The field equals the value.
    Equals(Value),
    /// The field equals one of the values.
    AnyOf(Vec<Value>),
    /// The field is a number that is at least this.
    AtLeast(f64),
    /// The field is a number that is at most this.
    AtMost(f64),
    /// The field exists and is not null; an empty array exists.
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

/// Why a filter is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// More than [`MAX_CONDITIONS`].
    #[error("the filter has {0} conditions, but at most {MAX_CONDITIONS} are allowed")]
    TooManyConditions(usize),
    /// The field is empty or longer than [`MAX_FIELD_BYTES`].
    #[error("a field name in the filter has {0} bytes, but must have 1 to {MAX_FIELD_BYTES}")]
    FieldLength(usize),
    /// More than [`MAX_VALUES`].
    #[error(
        "the filter compares '{field}' with {values} values, but at most {MAX_VALUES} are allowed"
    )]
    TooManyValues {
        /// The field.
        field: String,
        /// How many values.
        values: usize,
    },
    /// More than [`MAX_ALL_VALUES`].
    #[error("the filter has {0} values, but at most {MAX_ALL_VALUES} are allowed")]
    TooManyValuesInAll(usize),
    /// More than [`MAX_TEXT_BYTES`].
    #[error("the texts in the filter have {0} bytes, but at most {MAX_TEXT_BYTES} are allowed")]
    TooMuchText(usize),
    /// The number is infinite or NaN.
    #[error("the filter compares '{0}' with a number that is not finite")]
    NotFinite(String),
}

impl Filter {
    /// Checks the filter against its limits.
    pub fn validate(&self) -> Result<(), FilterError> {
        let conditions = self.must.len() + self.should.len() + self.must_not.len();
        if conditions > MAX_CONDITIONS {
            return Err(FilterError::TooManyConditions(conditions));
        }
        self.conditions().try_for_each(Condition::validate)?;
        let values = self.conditions().flat_map(Condition::values).count();
        if values > MAX_ALL_VALUES {
            return Err(FilterError::TooManyValuesInAll(values));
        }
        let text = self.conditions().flat_map(Condition::values).map(Value::text_bytes).sum();
        if text > MAX_TEXT_BYTES {
            return Err(FilterError::TooMuchText(text));
        }
        Ok(())
    }

    /// The memory that it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_value = |value: &Value| size_of::<Value>() + value.text_bytes();
        let of_condition = |condition: &Condition| {
            let values: usize = condition.values().iter().map(of_value).sum();
            size_of::<Condition>() + condition.field.len() + values
        };
        self.conditions().map(of_condition).sum()
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.must.iter().chain(&self.should).chain(&self.must_not)
    }

    /// Whether a document with this `metadata` can be found.
    #[must_use]
    pub fn matches(&self, metadata: &Json) -> bool {
        let holds = |condition: &Condition| condition.holds(metadata);
        self.must.iter().all(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
            && !self.must_not.iter().any(holds)
    }
}

impl Condition {
    fn values(&self) -> &[Value] {
        match &self.predicate {
            Predicate::Equals(value) => std::slice::from_ref(value),
            Predicate::AnyOf(values) => values,
            Predicate::AtLeast(_) | Predicate::AtMost(_) | Predicate::Exists => &[],
        }
    }

    fn validate(&self) -> Result<(), FilterError> {
        if self.field.is_empty() || self.field.len() > MAX_FIELD_BYTES {
            return Err(FilterError::FieldLength(self.field.len()));
        }
        let finite = match &self.predicate {
            Predicate::Equals(value) => value.is_finite(),
            Predicate::AnyOf(values) if values.len() > MAX_VALUES => {
                let (field, values) = (self.field.clone(), values.len());
                return Err(FilterError::TooManyValues { field, values });
            }
            Predicate::AnyOf(values) => values.iter().all(Value::is_finite),
            Predicate::AtLeast(bound) | Predicate::AtMost(bound) => bound.is_finite(),
            Predicate::Exists => true,
        };
        if finite { Ok(()) } else { Err(FilterError::NotFinite(self.field.clone())) }
    }

    fn holds(&self, metadata: &Json) -> bool {
        let Some(field) = self.field.split('.').try_fold(metadata, |json, step| json.get(step))
        else {
            return false;
        };
        match field {
            Json::Array(elements) if self.predicate != Predicate::Exists => {
                elements.iter().any(|element| self.predicate.holds(element))
            }
            field => self.predicate.holds(field),
        }
    }
}

impl Predicate {
    fn holds(&self, json: &Json) -> bool {
        let ordering = |bound: &f64| Number::of_json(json)?.compare(Number::Float(*bound));
        match self {
            Self::Equals(value) => value.equals(json),
            Self::AnyOf(values) => values.iter().any(|value| value.equals(json)),
            Self::AtLeast(bound) => ordering(bound).is_some_and(Ordering::is_ge),
            Self::AtMost(bound) => ordering(bound).is_some_and(Ordering::is_le),
            Self::Exists => !json.is_null(),
        }
    }
}

impl Value {
    fn text_bytes(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }

    fn is_finite(&self) -> bool {
        !matches!(self, Self::Number(number) if !number.is_finite())
    }

    fn equals(&self, json: &Json) -> bool {
        let number = match self {
            Self::Text(text) => return json.as_str() == Some(text),
            Self::Boolean(boolean) => return json.as_bool() == Some(*boolean),
            Self::Integer(integer) => Number::Integer((*integer).into()),
            Self::Number(number) => Number::Float(*number),
        };
        Number::of_json(json).and_then(|json| json.compare(number)) == Some(Ordering::Equal)
    }
}

/// A number in its own type, so that a comparison never rounds.
#[derive(Clone, Copy)]
enum Number {
    /// Within ±2^64, the integers that JSON and conditions can hold.
    Integer(i128),
    Float(f64),
}

impl Number {
    fn of_json(json: &Json) -> Option<Self> {
        let number = json.as_number()?;
        let integer = number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
        integer.map(Self::Integer).or(number.as_f64().map(Self::Float))
    }

    /// The mathematical order; `None` for NaN.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Integer(a), Self::Float(b)) => compare_mixed(a, b),
            (Self::Float(a), Self::Integer(b)) => compare_mixed(b, a).map(Ordering::reverse),
        }
    }
}

fn compare_mixed(integer: i128, float: f64) -> Option<Ordering> {
    // Within ±2^64 the cast of the truncated float is exact. Beyond, it can saturate, but the
    // result is still on the same side of every integer that can occur here.
    let whole = float.trunc();
    let by_whole = integer.cmp(&(whole as i128));
    let by_fraction = whole.partial_cmp(&float)?;
    Some(by_whole.then(by_fraction))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::budget::Budget;

    fn condition(field: &str, predicate: Predicate) -> Condition {
        Condition { field: field.into(), predicate }
    }

    fn text(value: &str) -> Predicate {
        Predicate::Equals(Value::Text(value.into()))
    }

    fn integer(value: i64) -> Predicate {
        Predicate::Equals(Value::Integer(value))
    }

    fn number(value: f64) -> Predicate {
        Predicate::Equals(Value::Number(value))
    }

    #[test]
    fn conditions_are_tested_against_metadata() {
        use Predicate::{AnyOf, AtLeast, AtMost, Exists};
        let metadata = json!({
            "lang": "en", "year": 1958, "price": 2.0, "draft": false, "none": null, "empty": [],
            "tags": ["wing", 7, null], "author": {"name": "Ada", "born": {"year": 1815}},
            "dotted.key": 1, "many": [{"a": 1}], "nested": [[1]],
            "large": 9_007_199_254_740_993_i64, "largest": u64::MAX,
        });
        let any = |values: &[i64]| AnyOf(values.iter().map(|v| Value::Integer(*v)).collect());
        let cases = [
            ("lang", text("en"), true),
            ("lang", text("EN"), false),
            ("lang", integer(1), false),
            ("lang", AtLeast(0.0), false),
            ("missing", text("en"), false),
            ("draft", Predicate::Equals(Value::Boolean(false)), true),
            ("draft", Predicate::Equals(Value::Boolean(true)), false),
            ("draft", integer(0), false),
            ("year", integer(1958), true),
            ("year", number(1958.0), true),
            ("year", text("1958"), false),
            ("price", integer(2), true),
            ("year", AtLeast(1958.0), true),
            ("year", AtLeast(1958.5), false),
            ("year", AtMost(1957.5), false),
            ("year", AtMost(1958.0), true),
            ("year", any(&[1, 1958]), true),
            ("year", any(&[]), false),
            ("large", number(9_007_199_254_740_992.0), false),
            ("large", AtMost(9_007_199_254_740_992.0), false),
            ("largest", AtLeast(18_446_744_073_709_551_615.0), false),
            ("largest", AtMost(f64::MAX), true),
            ("tags", text("wing"), true),
            ("tags", integer(7), true),
            ("tags", AtLeast(8.0), false),
            ("tags", Exists, true),
            ("empty", Exists, true),
            ("empty", text(""), false),
            ("none", Exists, false),
            ("missing", Exists, false),
            ("author.name", text("Ada"), true),
            ("author.born.year", AtMost(1900.0), true),
            ("author.born.year.x", Exists, false),
            ("author", Exists, true),
            ("author", text("Ada"), false),
            ("dotted.key", Exists, false),
            ("many.a", Exists, false),
            ("nested", integer(1), false),
        ];
        for (field, predicate, expected) in cases {
            let condition = condition(field, predicate);
            assert_eq!(condition.holds(&metadata), expected, "{condition:?}");
            let alone = Filter { must: vec![condition.clone()], ..Filter::default() };
            let later = Instant::now() + Duration::from_hours(1);
            let budget = Budget::new(100, later, CancellationToken::new());
            let compiled = Compiled::new(alone).matches(&metadata, &budget);
            assert_eq!(compiled, Ok(expected), "{condition:?}, compiled");
        }
    }

    #[test]
    fn a_filter_combines_its_lists() {
        let yes = || condition("a", integer(1));
        let no = || condition("a", integer(2));
        let cases = [
            (vec![], vec![], vec![], true),
            (vec![yes(), yes()], vec![], vec![], true),
            (vec![yes(), no()], vec![], vec![], false),
            (vec![], vec![no(), yes()], vec![], true),
            (vec![], vec![no(), no()], vec![], false),
            (vec![yes()], vec![no()], vec![], false),
            (vec![], vec![], vec![no(), no()], true),
            (vec![yes()], vec![yes()], vec![no(), yes()], false),
        ];
        for (must, should, must_not, expected) in cases {
            let filter = Filter { must, should, must_not };
            assert_eq!(filter.matches(&json!({"a": 1})), expected, "{filter:?}");
        }
    }

    #[test]
    fn limits_are_enforced() {
        let of = |must| Filter { must, ..Filter::default() };
        let values = |n| Predicate::AnyOf(vec![Value::Boolean(true); n]);
        let texts =
            |n: usize, bytes: usize| Predicate::AnyOf(vec![Value::Text("x".repeat(bytes)); n]);
        let longest = "x".repeat(MAX_FIELD_BYTES);
        let good = [
            of(vec![condition("a", Predicate::Exists); MAX_CONDITIONS]),
            of(vec![condition(&longest, values(MAX_VALUES))]),
            of(vec![condition("a", Predicate::AtLeast(f64::MAX))]),
            of(vec![condition("a", values(MAX_VALUES)); 4]),
            of(vec![condition("a", texts(4, MAX_TEXT_BYTES / 4))]),
        ];
        for filter in good {
            assert_eq!(filter.validate(), Ok(()));
        }
        let too_long = format!("{longest}x");
        let spread = Filter {
            must: vec![condition("a", Predicate::Exists); 40],
            should: vec![],
            must_not: vec![condition("a", Predicate::Exists); 25],
        };
        let not_finite = || FilterError::NotFinite("a".into());
        let bad = [
            (spread, FilterError::TooManyConditions(65)),
            (of(vec![condition("", Predicate::Exists)]), FilterError::FieldLength(0)),
            (of(vec![condition(&too_long, Predicate::Exists)]), FilterError::FieldLength(257)),
            (
                of(vec![condition("a", values(MAX_VALUES + 1))]),
                FilterError::TooManyValues { field: "a".into(), values: 1025 },
            ),
            (of(vec![condition("a", number(f64::NAN))]), not_finite()),
            (
                of([vec![condition("a", values(MAX_VALUES)); 4], vec![condition("a", values(1))]]
                    .concat()),
                FilterError::TooManyValuesInAll(4097),
            ),
            (
                of(vec![condition("a", texts(1, 1)), condition("a", texts(4, MAX_TEXT_BYTES / 4))]),
                FilterError::TooMuchText(MAX_TEXT_BYTES + 1),
            ),
            (of(vec![condition("a", Predicate::AtMost(f64::INFINITY))]), not_finite()),
            (
                of(vec![condition("a", Predicate::AnyOf(vec![Value::Number(f64::NAN)]))]),
                not_finite(),
            ),
        ];
        for (filter, expected) in bad {
            assert_eq!(filter.validate(), Err(expected));
        }
    }

    proptest! {
        #[test]
        fn mixed_comparison_is_exact(integer in -2_i64.pow(40)..2_i64.pow(40), eighths in -2_i64.pow(43)..2_i64.pow(43)) {
            let float = eighths as f64 / 8.0;
            let expected = (i128::from(integer) * 8).cmp(&i128::from(eighths));
            prop_assert_eq!(compare_mixed(integer.into(), float), Some(expected));
        }

        #[test]
        fn neighbours_of_large_integers_are_distinguished(integer in 2_i64.pow(53)..i64::MAX) {
            let float = integer as f64;
            let expected = i128::from(integer).cmp(&(float as i128));
            prop_assert_eq!(compare_mixed(integer.into(), float), Some(expected));
            prop_assert_eq!(compare_mixed(integer.into(), f64::MAX), Some(Ordering::Less));
            prop_assert_eq!(compare_mixed(integer.into(), f64::MIN), Some(Ordering::Greater));
            prop_assert_eq!(compare_mixed(integer.into(), f64::NAN), None);
        }
    }
}
