//! The filter's JSON, which follows the WIT's:
//! `{"must": [CONDITION…], "should": […], "must_not": […]}`, each list optional. A condition
//! is `{"field": NAME, PREDICATE}` with exactly one of `"equals": VALUE`, `"any_of":
//! [VALUE…]`, `"at_least": NUMBER`, `"at_most": NUMBER` and `"exists": true`; a value is a
//! string, a number or a boolean.
//!
//! Every failure is `invalid-filter` and begins with the path of what is wrong, such as
//! `filter.must[0].equals`.

use weir_sdk::Failure;
use weir_sdk::collections::{self, Condition, Filter, Predicate};
use weir_sdk::serde_json::{Map, Value};

use crate::describe::described;

/// The most conditions in all three lists, and the most values in an `any_of`.
pub const MAX_CONDITIONS: usize = 64;

const PREDICATES: &str = "'equals', 'any_of', 'at_least', 'at_most' and 'exists'";

/// Reads the member `filter`.
pub fn parse(value: &Value) -> Result<Filter, Failure> {
    let mut filter = Filter::default();
    for (name, value) in object("filter", value)? {
        let list = match name.as_str() {
            "must" => &mut filter.must,
            "should" => &mut filter.should,
            "must_not" => &mut filter.must_not,
            _ => {
                return Err(wrong(
                    &format!("filter.{name}"),
                    "is unknown: a filter has 'must', 'should' and 'must_not'",
                ));
            }
        };
        let path = format!("filter.{name}");
        for (index, value) in bounded_list(&path, value)?.iter().enumerate() {
            list.push(condition(&format!("{path}[{index}]"), value)?);
        }
    }
    let count = filter.must.len() + filter.should.len() + filter.must_not.len();
    if count > MAX_CONDITIONS {
        let problem = format!("has {count} conditions, but at most {MAX_CONDITIONS} are allowed");
        return Err(wrong("filter", &problem));
    }
    Ok(filter)
}

fn condition(path: &str, value: &Value) -> Result<Condition, Failure> {
    let members = object(path, value)?;
    let field = match members.get("field") {
        Some(Value::String(field)) if !field.is_empty() => field.clone(),
        _ => return Err(wrong(path, "needs a 'field', the name of a metadata field")),
    };
    let mut predicates = members.iter().filter(|(name, _)| *name != "field");
    match (predicates.next(), predicates.next()) {
        (Some((name, value)), None) => {
            Ok(Condition { field, predicate: predicate(&format!("{path}.{name}"), name, value)? })
        }
        _ => Err(wrong(path, &format!("needs exactly one of {PREDICATES}"))),
    }
}

fn predicate(path: &str, name: &str, value: &Value) -> Result<Predicate, Failure> {
    Ok(match name {
        "equals" => Predicate::Equals(scalar(path, value)?),
        "any_of" => {
            let values = bounded_list(path, value)?;
            if values.is_empty() {
                return Err(wrong(path, "needs at least one value"));
            }
            let values = values.iter().enumerate();
            let values = values.map(|(index, value)| scalar(&format!("{path}[{index}]"), value));
            Predicate::AnyOf(values.collect::<Result<_, _>>()?)
        }
        "at_least" => Predicate::AtLeast(number(path, value)?),
        "at_most" => Predicate::AtMost(number(path, value)?),
        "exists" if *value == Value::Bool(true) => Predicate::Exists,
        "exists" => {
            return Err(wrong(
                path,
                "must be true: to find documents without the field, use 'must_not'",
            ));
        }
        _ => return Err(wrong(path, &format!("is unknown: the predicates are {PREDICATES}"))),
    })
}

fn scalar(path: &str, value: &Value) -> Result<collections::Value, Failure> {
    match value {
        Value::String(text) => Ok(collections::Value::Text(text.clone())),
        Value::Bool(boolean) => Ok(collections::Value::Boolean(*boolean)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Ok(collections::Value::Integer(integer)),
            // Beyond this, different integers can become the same double, so equality would be a
            // guess.
            (None, Some(number)) if number.abs() < i64::MAX as f64 => {
                Ok(collections::Value::Number(number))
            }
            _ => Err(wrong(path, "is too large to be compared exactly")),
        },
        other => Err(wrong(
            path,
            &format!("must be a string, a number or a boolean, but is {}", described(other)),
        )),
    }
}

fn number(path: &str, value: &Value) -> Result<f64, Failure> {
    let problem = || wrong(path, &format!("must be a number, but is {}", described(value)));
    value.as_f64().filter(|number| number.is_finite()).ok_or_else(problem)
}

fn object<'a>(path: &str, value: &'a Value) -> Result<&'a Map<String, Value>, Failure> {
    let problem = || wrong(path, &format!("must be an object, but is {}", described(value)));
    value.as_object().ok_or_else(problem)
}

fn bounded_list<'a>(path: &str, value: &'a Value) -> Result<&'a [Value], Failure> {
    match value {
        Value::Array(list) if list.len() <= MAX_CONDITIONS => Ok(list),
        Value::Array(list) => Err(wrong(
            path,
            &format!("has {} elements, but at most {MAX_CONDITIONS} are allowed", list.len()),
        )),
        other => Err(wrong(path, &format!("must be a list, but is {}", described(other)))),
    }
}

fn wrong(path: &str, problem: &str) -> Failure {
    Failure::invalid_request("invalid-filter", format!("{path} {problem}"))
}

#[cfg(test)]
mod tests {
    use weir_sdk::serde_json;

    use super::*;

    fn parsed(json: &str) -> Result<Filter, Failure> {
        parse(&serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}")))
    }

    /// The only condition of `must`, in its debug format.
    fn predicate_of(condition: &str) -> String {
        let json = format!(r#"{{"must":[{{"field":"f",{condition}}}]}}"#);
        let filter = parsed(&json).unwrap_or_else(|failure| panic!("{json}: {failure:?}"));
        format!("{:?}", filter.must[0].predicate)
    }

    /// Asserts that the filter is refused with a message that begins with this path.
    fn refused(json: &str, path: &str) {
        let failure = parsed(json).err().unwrap_or_else(|| panic!("{json} is accepted"));
        assert_eq!(failure.code(), "invalid-filter");
        assert!(failure.message().starts_with(&format!("{path} ")), "{json}: {failure:?}");
    }

    #[test]
    fn each_predicate_is_read() {
        for (condition, expected) in [
            (r#""equals":"x""#, r#"Equals(Text("x"))"#),
            (r#""equals":-3"#, "Equals(Integer(-3))"),
            (r#""equals":3.0"#, "Equals(Number(3.0))"),
            (r#""equals":false"#, "Equals(Boolean(false))"),
            (r#""equals":9223372036854775807"#, "Equals(Integer(9223372036854775807))"),
            (r#""any_of":["x",1]"#, r#"AnyOf([Text("x"), Integer(1)])"#),
            (r#""at_least":1"#, "AtLeast(1.0)"),
            (r#""at_most":-2.5"#, "AtMost(-2.5)"),
            (r#""exists":true"#, "Exists"),
        ] {
            assert_eq!(predicate_of(condition), expected);
        }
    }

    #[test]
    fn each_list_is_optional_and_in_order() {
        assert!(parsed("{}").is_ok_and(|filter| filter.must.is_empty()));
        let filter = parsed(
            r#"{"must":[{"field":"a","exists":true},{"field":"b","exists":true}],
                "should":[{"field":"c","equals":1}],"must_not":[{"equals":1,"field":"d.e"}]}"#,
        );
        let filter = filter.unwrap_or_else(|failure| panic!("{failure:?}"));
        let fields = |list: &[Condition]| -> Vec<String> {
            list.iter().map(|condition| condition.field.clone()).collect()
        };
        assert_eq!(fields(&filter.must), ["a", "b"]);
        assert_eq!(fields(&filter.should), ["c"]);
        assert_eq!(fields(&filter.must_not), ["d.e"]);
    }

    #[test]
    fn errors_name_the_path_of_what_is_wrong() {
        for (json, path) in [
            ("[]", "filter"),
            (r#"{"not":[]}"#, "filter.not"),
            (r#"{"must":{}}"#, "filter.must"),
            (r#"{"must":null}"#, "filter.must"),
            (r#"{"must":[1]}"#, "filter.must[0]"),
            (r#"{"must":[{"exists":true}]}"#, "filter.must[0]"),
            (r#"{"must":[{"field":"","exists":true}]}"#, "filter.must[0]"),
            (r#"{"must":[{"field":1,"exists":true}]}"#, "filter.must[0]"),
            (r#"{"should":[{"field":"f"}]}"#, "filter.should[0]"),
            (r#"{"must":[{"field":"f","at_least":1,"at_most":2}]}"#, "filter.must[0]"),
            (r#"{"must":[{"field":"f","like":"x"}]}"#, "filter.must[0].like"),
            (r#"{"must":[{"field":"f","equals":null}]}"#, "filter.must[0].equals"),
            (r#"{"must":[{"field":"f","equals":["x"]}]}"#, "filter.must[0].equals"),
            (r#"{"must":[{"field":"f","equals":9223372036854775808}]}"#, "filter.must[0].equals"),
            (r#"{"must":[{"field":"f","any_of":"x"}]}"#, "filter.must[0].any_of"),
            (r#"{"must":[{"field":"f","any_of":[]}]}"#, "filter.must[0].any_of"),
            (r#"{"must":[{"field":"f","any_of":[1,{}]}]}"#, "filter.must[0].any_of[1]"),
            (r#"{"must":[{"field":"f","at_least":"1"}]}"#, "filter.must[0].at_least"),
            (r#"{"must_not":[{"field":"f","at_most":true}]}"#, "filter.must_not[0].at_most"),
            (r#"{"must":[{"field":"f","exists":false}]}"#, "filter.must[0].exists"),
        ] {
            refused(json, path);
        }
    }

    #[test]
    fn conditions_are_bounded() {
        let conditions = |count: usize| vec![r#"{"field":"f","exists":true}"#; count].join(",");
        assert!(parsed(&format!(r#"{{"must":[{}]}}"#, conditions(MAX_CONDITIONS))).is_ok());
        let too_many = conditions(MAX_CONDITIONS + 1);
        refused(&format!(r#"{{"must":[{too_many}]}}"#), "filter.must");
        let half = conditions(MAX_CONDITIONS / 2 + 1);
        refused(&format!(r#"{{"must":[{half}],"should":[{half}]}}"#), "filter");
    }
}
