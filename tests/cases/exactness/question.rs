//! What readers ask: the request's JSON, and which documents its filter lets through.

use serde_json::{Value, json};

use super::words::{FIRST_YEAR, Rng, TAGS, TOPICS, YEARS, query};

/// A collection that nobody changes, and the pipeline that is asked about it.
pub(super) const CALM: &str = "calm";

/// How a question is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Dense,
    Keyword,
    Hybrid,
}

impl Mode {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Keyword => "keyword",
            Self::Hybrid => "hybrid",
        }
    }
}

/// A question about one collection, or about two in one run.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// In the order of the names.
    pub(super) collections: Vec<String>,
    pub(super) query: String,
    pub(super) mode: Mode,
    pub(super) filter: Option<Filter>,
    pub(super) limit: usize,
    pub(super) offset: usize,
}

impl Question {
    /// A random question. Those about two collections have neither filter nor offset, because the
    /// guest that answers them takes none.
    pub(super) fn random(rng: &mut Rng, collections: Vec<String>) -> Self {
        let one = collections.len() == 1;
        Self {
            collections,
            query: query(rng),
            mode: *rng.pick(&[Mode::Dense, Mode::Keyword, Mode::Hybrid]),
            filter: (one && rng.chance(35)).then(|| Filter::random(rng)),
            limit: *rng.pick(&[1, 5, 10, 10, 20, 100]),
            offset: if one && rng.chance(25) { rng.below(40) } else { 0 },
        }
    }

    /// The pipeline that answers it. There is one of each without a policy, whose answers are
    /// never cached.
    pub(super) fn pipeline(&self, cached: bool) -> &'static str {
        match (self.collections.len(), cached) {
            (1, true) if self.collections[0] == CALM => CALM,
            (1, true) => "search",
            (1, false) => "fresh",
            (_, true) => "two",
            (_, false) => "fresh-two",
        }
    }

    /// The member of the answer that has the hits of a collection.
    pub(super) fn member(&self, collection: &str) -> &'static str {
        match self.collections.iter().position(|name| name == collection) {
            _ if self.collections.len() == 1 => "results",
            Some(0) => "first",
            _ => "second",
        }
    }

    /// Whether an answer consists of what it should, apart from the hits.
    pub(super) fn has_members(&self, answer: &Value) -> bool {
        let Some(members) = answer.as_object() else { return false };
        let names: Vec<_> = members.keys().map(String::as_str).collect();
        match self.collections.len() {
            1 => names == ["mode", "results"] && answer["mode"] == self.mode.name(),
            _ => names == ["first", "second"],
        }
    }

    /// The request's body.
    pub(super) fn body(&self) -> Value {
        let mut body =
            json!({ "query": self.query, "mode": self.mode.name(), "limit": self.limit });
        if let [first, second] = self.collections.as_slice() {
            body["first"] = json!(first);
            body["second"] = json!(second);
            return body;
        }
        body["collection"] = json!(self.collections[0]);
        if self.offset > 0 {
            body["offset"] = json!(self.offset);
        }
        if let Some(filter) = &self.filter {
            body["filter"] = filter.body();
        }
        body
    }

    /// Equal for requests that must get the same bytes at the same position, cached or not.
    pub(super) fn key(&self) -> String {
        self.body().to_string()
    }
}

/// Which documents may be found.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    must: Vec<Condition>,
    should: Vec<Condition>,
    must_not: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    field: &'static str,
    predicate: Predicate,
}

#[derive(Clone, Debug)]
enum Predicate {
    Equals(Value),
    AtLeast(f64),
    AtMost(f64),
    Exists,
}

impl Filter {
    fn random(rng: &mut Rng) -> Self {
        let mut filter = Self::default();
        for _ in 0..1 + rng.below(2) {
            let condition = Condition::random(rng);
            match rng.below(4) {
                0 => filter.should.push(condition),
                1 => filter.must_not.push(condition),
                _ => filter.must.push(condition),
            }
        }
        filter
    }

    fn body(&self) -> Value {
        let list = |list: &[Condition]| list.iter().map(Condition::body).collect::<Value>();
        json!({
            "must": list(&self.must),
            "should": list(&self.should),
            "must_not": list(&self.must_not),
        })
    }

    /// Whether a document with this metadata may be found.
    pub(super) fn passes(&self, metadata: &Value) -> bool {
        let holds = |condition: &Condition| condition.holds(metadata);
        self.must.iter().all(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
            && !self.must_not.iter().any(holds)
    }
}

impl Condition {
    fn random(rng: &mut Rng) -> Self {
        let year = (FIRST_YEAR + rng.below(YEARS)) as f64;
        let (field, predicate) = match rng.below(6) {
            0 => ("topic", Predicate::Equals(json!(rng.pick(&TOPICS)))),
            1 => ("tags", Predicate::Equals(json!(rng.pick(&TAGS)))),
            2 => ("by.number", Predicate::Equals(json!(rng.below(4)))),
            3 => ("year", Predicate::AtLeast(year)),
            4 => ("year", Predicate::AtMost(year)),
            _ => ("year", Predicate::Exists),
        };
        Self { field, predicate }
    }

    fn body(&self) -> Value {
        let (name, value) = match &self.predicate {
            Predicate::Equals(value) => ("equals", value.clone()),
            Predicate::AtLeast(number) => ("at_least", json!(number)),
            Predicate::AtMost(number) => ("at_most", json!(number)),
            Predicate::Exists => ("exists", json!(true)),
        };
        json!({ "field": self.field, name: value })
    }

    fn holds(&self, metadata: &Value) -> bool {
        let found = self.field.split('.').fold(metadata, |value, step| &value[step]);
        let number = |value: &Value| value.as_f64();
        let passes = |value: &Value| match &self.predicate {
            Predicate::Equals(other) if other.is_number() => number(value) == number(other),
            Predicate::Equals(other) => value == other,
            Predicate::AtLeast(least) => number(value).is_some_and(|number| number >= *least),
            Predicate::AtMost(most) => number(value).is_some_and(|number| number <= *most),
            Predicate::Exists => !value.is_null(),
        };
        match found {
            Value::Array(elements) => elements.iter().any(passes),
            one => passes(one),
        }
    }
}

#[test]
fn filters_pass_what_they_should() {
    let metadata = json!({ "topic": "sea", "tags": ["new", "old"], "by": { "number": 2 } });
    let condition = |field, predicate| Condition { field, predicate };
    let cases = [
        (condition("topic", Predicate::Equals(json!("sea"))), true),
        (condition("tags", Predicate::Equals(json!("old"))), true),
        (condition("tags", Predicate::Equals(json!("long"))), false),
        (condition("by.number", Predicate::Equals(json!(2))), true),
        (condition("by.number", Predicate::AtLeast(2.0)), true),
        (condition("by.number", Predicate::AtMost(1.0)), false),
        (condition("year", Predicate::AtLeast(0.0)), false),
        (condition("year", Predicate::Exists), false),
    ];
    for (condition, expected) in cases {
        let list = vec![condition];
        for (filter, expected) in [
            (Filter { must: list.clone(), ..Filter::default() }, expected),
            (Filter { should: list.clone(), ..Filter::default() }, expected),
            (Filter { must_not: list, ..Filter::default() }, !expected),
        ] {
            assert_eq!(filter.passes(&metadata), expected, "{filter:?}");
        }
    }
}
