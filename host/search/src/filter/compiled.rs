//! A filter in the form in which it is matched against many documents: paths are split, and the
//! values that a field is compared with are a set. [`Filter::matches`] defines what it means.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value as Json;

use super::{Condition, Filter, Number, Predicate, Value};
use crate::VectorError;
use crate::budget::Budget;

/// How much of a text one step hashes.
const BYTES_OF_A_STEP: usize = 32;

/// A filter that is ready to be matched.
#[derive(Clone, Debug)]
pub struct Compiled {
    must: Box<[Test]>,
    should: Box<[Test]>,
    must_not: Box<[Test]>,
}

#[derive(Clone, Debug)]
struct Test {
    path: Box<[Box<str>]>,
    check: Check,
}

#[derive(Clone, Debug)]
enum Check {
    Among(Values),
    AtLeast(f64),
    AtMost(f64),
    Exists,
}

#[derive(Clone, Debug, Default)]
struct Values {
    texts: HashSet<Box<str>>,
    /// Longer texts need not be hashed.
    longest_text: usize,
    numbers: HashSet<NumberKey>,
    is_true: bool,
    is_false: bool,
}

/// The same for numbers that are equal, whatever their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum NumberKey {
    Integer(i128),
    /// The bits of any other number.
    Other(u64),
}

impl Compiled {
    /// Compiles a filter that is [valid](Filter::validate).
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        let tests = |conditions: Vec<Condition>| conditions.into_iter().map(Test::new).collect();
        Self {
            must: tests(filter.must),
            should: tests(filter.should),
            must_not: tests(filter.must_not),
        }
    }

    /// Whether a document with this `metadata` can be found.
    ///
    /// # Errors
    /// The budget is used up.
    pub fn matches(&self, metadata: &Json, budget: &Budget) -> Result<bool, VectorError> {
        for test in &self.must {
            if !test.holds(metadata, budget)? {
                return Ok(false);
            }
        }
        if !self.should.is_empty() && !any_holds(&self.should, metadata, budget)? {
            return Ok(false);
        }
        Ok(!any_holds(&self.must_not, metadata, budget)?)
    }
}

fn any_holds(tests: &[Test], metadata: &Json, budget: &Budget) -> Result<bool, VectorError> {
    for test in tests {
        if test.holds(metadata, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Test {
    fn new(condition: Condition) -> Self {
        let path = condition.field.split('.').map(Box::from).collect();
        let check = match condition.predicate {
            Predicate::Equals(value) => Check::Among(Values::new([value])),
            Predicate::AnyOf(values) => Check::Among(Values::new(values)),
            Predicate::AtLeast(bound) => Check::AtLeast(bound),
            Predicate::AtMost(bound) => Check::AtMost(bound),
            Predicate::Exists => Check::Exists,
        };
        Self { path, check }
    }

    fn holds(&self, metadata: &Json, budget: &Budget) -> Result<bool, VectorError> {
        budget.take(1 + self.path.len() as u64)?;
        let field = self.path.iter().try_fold(metadata, |json, step| json.get(&**step));
        let Some(field) = field else { return Ok(false) };
        let Json::Array(elements) = field else { return self.check.holds(field, budget) };
        if matches!(self.check, Check::Exists) {
            return Ok(true);
        }
        for element in elements {
            if self.check.holds(element, budget)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Check {
    fn holds(&self, json: &Json, budget: &Budget) -> Result<bool, VectorError> {
        budget.take(1)?;
        let ordering = |bound: &f64| Number::of_json(json)?.compare(Number::Float(*bound));
        Ok(match self {
            Self::Among(values) => return values.contain(json, budget),
            Self::AtLeast(bound) => ordering(bound).is_some_and(Ordering::is_ge),
            Self::AtMost(bound) => ordering(bound).is_some_and(Ordering::is_le),
            Self::Exists => !json.is_null(),
        })
    }
}

impl Values {
    fn new(values: impl IntoIterator<Item = Value>) -> Self {
        let mut of = Self::default();
        for value in values {
            match value {
                Value::Text(text) => {
                    of.longest_text = of.longest_text.max(text.len());
                    of.texts.insert(text.into());
                }
                Value::Integer(integer) => {
                    of.numbers.insert(NumberKey::Integer(integer.into()));
                }
                Value::Number(number) => {
                    of.numbers.insert(NumberKey::new(Number::Float(number)));
                }
                Value::Boolean(true) => of.is_true = true,
                Value::Boolean(false) => of.is_false = true,
            }
        }
        of
    }

    fn contain(&self, json: &Json, budget: &Budget) -> Result<bool, VectorError> {
        Ok(match json {
            Json::String(text) if text.len() <= self.longest_text => {
                budget.take((text.len() / BYTES_OF_A_STEP) as u64)?;
                self.texts.contains(text.as_str())
            }
            Json::Bool(true) => self.is_true,
            Json::Bool(false) => self.is_false,
            Json::Number(_) if !self.numbers.is_empty() => {
                let key = Number::of_json(json).map(NumberKey::new);
                key.is_some_and(|key| self.numbers.contains(&key))
            }
            _ => false,
        })
    }
}

impl NumberKey {
    /// Beyond this, a float is no integer that JSON or a condition can hold.
    const LARGEST: f64 = 18_446_744_073_709_551_616.0;

    fn new(number: Number) -> Self {
        match number {
            Number::Integer(integer) => Self::Integer(integer),
            Number::Float(float) if float.trunc() == float && float.abs() <= Self::LARGEST => {
                Self::Integer(float as i128)
            }
            Number::Float(float) => Self::Other(float.to_bits()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::time::{Duration, Instant};

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn budget(steps: u64) -> Budget {
        Budget::new(steps, Instant::now() + Duration::from_hours(1), CancellationToken::new())
    }

    fn number() -> impl Strategy<Value = f64> {
        let edges = [0.0, -0.0, 1.0, 1.5, 9_007_199_254_740_992.0, NumberKey::LARGEST, 1e300];
        prop_oneof![prop::sample::select(edges.to_vec()), (-3..4_i8).prop_map(f64::from)]
    }

    fn integer() -> impl Strategy<Value = i64> {
        let edges = [9_007_199_254_740_993, 9_007_199_254_740_992, i64::MAX, i64::MIN];
        prop_oneof![prop::sample::select(edges.to_vec()), -3..4_i64]
    }

    fn text() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "a", "b", "ab"]).prop_map(str::to_owned)
    }

    fn leaf() -> impl Strategy<Value = Json> {
        prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            integer().prop_map(Json::from),
            Just(json!(u64::MAX)),
            number().prop_map(Json::from),
            text().prop_map(Json::from),
        ]
    }

    fn metadata() -> impl Strategy<Value = Json> {
        let field = leaf().prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Json::from),
                btree_map("[ab]", inner, 0..3).prop_map(|map| map.into_iter().collect()),
            ]
        });
        btree_map("[ab]", field, 0..3).prop_map(|map| map.into_iter().collect())
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let value = || {
            prop_oneof![
                text().prop_map(Value::Text),
                integer().prop_map(Value::Integer),
                number().prop_map(Value::Number),
                any::<bool>().prop_map(Value::Boolean),
            ]
        };
        let predicate = prop_oneof![
            value().prop_map(Predicate::Equals),
            vec(value(), 0..4).prop_map(Predicate::AnyOf),
            number().prop_map(Predicate::AtLeast),
            number().prop_map(Predicate::AtMost),
            Just(Predicate::Exists),
        ];
        let condition = ("[ab](\\.[ab]){0,2}", predicate)
            .prop_map(|(field, predicate)| Condition { field, predicate });
        vec(vec(condition, 0..3), 3).prop_map(|lists| {
            let [must, should, must_not] = lists.try_into().unwrap();
            Filter { must, should, must_not }
        })
    }

    proptest! {
        // Few of the pairs have anything in common.
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn a_compiled_filter_means_what_the_filter_means(filter in filter(), metadata in metadata()) {
            let expected = filter.matches(&metadata);
            let found = Compiled::new(filter).matches(&metadata, &budget(1_000));
            prop_assert_eq!(found, Ok(expected));
        }
    }

    #[test]
    fn what_is_looked_at_is_charged() {
        let any_of = |values: Vec<Value>| {
            let condition = Condition { field: "a.b".into(), predicate: Predicate::AnyOf(values) };
            Compiled::new(Filter { must: vec![condition], ..Filter::default() })
        };
        let numbers = any_of((0..1_000).map(Value::Integer).collect());
        let texts = any_of(vec![Value::Text("x".repeat(3_200))]);
        let cases = [
            (&numbers, json!({}), 3),
            (&numbers, json!({"a": {"b": 7}}), 4),
            (&numbers, json!({"a": {"b": vec![1_000; 500]}}), 503),
            (&texts, json!({"a": {"b": "y".repeat(3_200)}}), 104),
            (&texts, json!({"a": {"b": "y".repeat(3_201)}}), 4),
        ];
        for (filter, metadata, steps) in cases {
            assert!(filter.matches(&metadata, &budget(steps)).is_ok(), "{metadata}");
            let short = filter.matches(&metadata, &budget(steps - 1));
            assert_eq!(short, Err(VectorError::TooCostly), "{metadata}");
        }
    }
}
