//! How requests ended, in words that can be counted: `200`, `503 overloaded`, `timed out`.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use super::cache_status::CacheStatus;

/// How a request ended.
pub(crate) struct Outcome {
    /// The status if there was an answer.
    pub(crate) status: Option<StatusCode>,
    /// The status with the code of the problem, or why there was no answer.
    pub(crate) label: String,
    /// What the cache did for the answer.
    pub(crate) cache: CacheStatus,
}

/// Sends a request and reads its answer to the end.
pub(crate) async fn send(request: RequestBuilder) -> Outcome {
    let failed = |error: &reqwest::Error| Outcome {
        status: None,
        label: without_answer(error).to_owned(),
        cache: CacheStatus::Absent,
    };
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    let status = answer.status();
    let cache_status = answer.headers().get("cache-status").and_then(|value| value.to_str().ok());
    let cache = cache_status.map_or(CacheStatus::Absent, CacheStatus::parse);
    match answer.bytes().await {
        Ok(body) => Outcome { status: Some(status), label: label(status, &body), cache },
        Err(error) => failed(&error),
    }
}

/// The status with the code of the problem, if the body is one.
pub(crate) fn label(status: StatusCode, body: &[u8]) -> String {
    let number = status.as_u16();
    let problem: Option<Value> =
        if status.is_success() { None } else { serde_json::from_slice(body).ok() };
    match problem.as_ref().and_then(|problem| problem["code"].as_str()) {
        Some(code) => format!("{number} {code}"),
        None => number.to_string(),
    }
}

fn without_answer(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "timed out",
        error if error.is_connect() => "not connected",
        error if error.is_body() || error.is_decode() => "truncated",
        _ => "disconnected",
    }
}

/// What an input or output error means to a client.
pub(crate) fn of_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "disconnected".to_owned(),
        io::ErrorKind::UnexpectedEof => "closed".to_owned(),
        kind => kind.to_string(),
    }
}

/// The status in the beginning of an answer of HTTP/1.1; `closed` if there is none.
pub(crate) fn of_head(head: &[u8]) -> String {
    let status = head.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
    let status = status.and_then(|status| std::str::from_utf8(status).ok());
    status.unwrap_or("closed").to_owned()
}

/// How often what happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Counts(BTreeMap<String, u64>);

impl Counts {
    pub(crate) fn add(&mut self, label: impl Into<String>) {
        *self.0.entry(label.into()).or_default() += 1;
    }

    /// Those that are none of these.
    pub(crate) fn other_than(&self, labels: &[&str]) -> Self {
        let others = self.0.iter().filter(|(label, _)| !labels.contains(&label.as_str()));
        Self(others.map(|(label, count)| (label.clone(), *count)).collect())
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("nothing");
        }
        for (place, (label, count)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(formatter, "{comma}{count} × {label}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_the_code_of_a_problem() {
        for (status, body, expected) in [
            (StatusCode::OK, &br#"{"code":"not a problem"}"#[..], "200"),
            (StatusCode::SERVICE_UNAVAILABLE, br#"{"code":"overloaded"}"#, "503 overloaded"),
            (StatusCode::BAD_REQUEST, b"", "400"),
        ] {
            assert_eq!(label(status, body), expected);
        }
    }

    #[test]
    fn heads_have_a_status() {
        for (head, expected) in [
            (&b"HTTP/1.1 408 Request Timeout\r\n"[..], "408"),
            (b"HTTP/1.1 4", "closed"),
            (b"", "closed"),
        ] {
            assert_eq!(of_head(head), expected);
        }
    }

    #[test]
    fn counts_are_readable() {
        let mut counts = Counts::default();
        assert_eq!(counts.to_string(), "nothing");
        ["503 overloaded", "200", "200"].into_iter().for_each(|label| counts.add(label));
        assert_eq!(counts.to_string(), "2 × 200, 1 × 503 overloaded");
        assert_eq!(counts.total(), 3);
        assert_eq!(counts.other_than(&["200", "404"]).to_string(), "1 × 503 overloaded");
    }
}
