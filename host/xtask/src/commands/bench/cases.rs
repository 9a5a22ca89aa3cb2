//! The cases that are measured.

/// A way of answering, and the requests that are sent.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// The mode of searches; other pipelines do not interpret their questions.
    pub(super) mode: Option<&'static str>,
    /// How many different questions are asked.
    pub(super) keys: usize,
    /// Whether every answer must be a hit of the memory tier. If false, no answer may be one.
    pub(super) is_hit: bool,
    /// The CPU time in µs that an answer may cost on top of the same bytes from a plain server.
    /// `None` for searches, which cannot be compared with a plain server.
    pub(super) over_plain_us: Option<f64>,
}

/// Questions of each mode of `search`. Their vectors fit into the embedding cache, and
/// [`prepare`](super::prepare::prepare) puts them there, because embedding a question takes
/// milliseconds in ONNX Runtime, which would hide the cost of everything else.
const QUESTIONS: usize = 256;

/// `echo` under the default policy: all answers come from the memory tier once they are stored.
pub(super) const HIT: Case = Case {
    name: "memory-tier hit",
    path: "/v1/pipelines/echo",
    mode: None,
    keys: 100_000,
    is_hit: true,
    over_plain_us: Some(3.0),
};

/// `echo` without a policy: a new instance for each request.
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
