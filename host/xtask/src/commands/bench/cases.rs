//! What is measured: the ways of answering.

/// A way of answering.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// The mode of a search; other pipelines do not look at their questions.
    pub(super) mode: Option<&'static str>,
    /// Different questions.
    pub(super) keys: usize,
    /// Every answer comes from the memory tier; of other cases, none does.
    pub(super) is_hit: bool,
    /// CPU µs that an answer may cost over a plain server's with the same bytes. Without it, a
    /// plain server is no measure: it does not search.
    pub(super) over_plain_us: Option<f64>,
}

/// Questions of each mode of `search`. Their vectors fit into the embedding cache, and
/// [`prepare`](super::prepare::prepare) puts them there: embedding a question takes milliseconds in ONNX Runtime, and
/// would hide what everything else costs.
const QUESTIONS: usize = 256;

/// Under the default policy: each answer comes from the memory tier once it is there.
pub(super) const HIT: Case = Case {
    name: "memory-tier hit",
    path: "/v1/pipelines/echo",
    mode: None,
    keys: 100_000,
    is_hit: true,
    over_plain_us: Some(3.0),
};

/// The same component without a policy: an instance for each request.
pub(super) const ECHO: Case = Case {
    name: "uncached echo",
    path: "/v1/pipelines/echo-uncached",
    mode: None,
    keys: 100_000,
    is_hit: false,
    over_plain_us: Some(100.0),
};

/// All cases, in the order in which they run and are printed.
pub(super) const CASES: [Case; 5] = [
    HIT,
    ECHO,
    search("uncached search, dense", "dense"),
    search("uncached search, keyword", "keyword"),
    search("uncached search, hybrid", "hybrid"),
];

const fn search(name: &'static str, mode: &'static str) -> Case {
    Case {
        name,
        path: "/v1/pipelines/search-uncached",
        mode: Some(mode),
        keys: QUESTIONS,
        is_hit: false,
        over_plain_us: None,
    }
}
