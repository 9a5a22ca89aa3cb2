//! What libFuzzer says at the end of a run in which it has found nothing.

use std::fmt;

use anyhow::{Context, Result, ensure};

/// What a run has done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    inputs: u64,
    /// The edges between blocks of code that the corpus covers.
    edges_at_first: u64,
    /// Those that all inputs cover.
    edges: u64,
    /// The inputs that cover something that no other covers, and their sizes.
    kept: String,
}

impl Outcome {
    /// # Errors
    ///
    /// The run was none: it had no inputs, or did not see what they cover.
    pub(super) fn read(said: &str) -> Result<Self> {
        let line = |event: &str| {
            let mut lines = said.lines().filter(|line| line.starts_with('#'));
            lines.find(|line| line.split_whitespace().nth(1) == Some(event))
        };
        let first = line("INITED").context("libFuzzer did not read the corpus")?;
        let done = line("DONE").context("libFuzzer did not end by itself")?;
        let number = |line, name| -> Result<u64> {
            let value = after(line, name).with_context(|| format!("no {name} in `{line}`"))?;
            value.parse().with_context(|| format!("the {name} in `{line}`"))
        };
        let outcome = Self {
            inputs: number(done, "#")?,
            edges_at_first: number(first, "cov:")?,
            edges: number(done, "cov:")?,
            kept: after(done, "corp:").context("no corpus")?.to_owned(),
        };
        ensure!(
            outcome.inputs > 0 && outcome.edges_at_first > 0,
            "the targets were compiled without coverage, or ran nothing: {outcome}"
        );
        Ok(outcome)
    }
}

/// The word after `name`, or the rest of the word that begins with it.
fn after<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_once(name)?.1.split_whitespace().next()
}

impl fmt::Display for Outcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, edges_at_first, edges, kept } = self;
        write!(
            to,
            "{inputs} inputs broke nothing; edges covered: {edges_at_first} at first, {edges} at the \
             end; kept, in inputs and bytes: {kept}"
        )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const RUN: &str = "INFO: seed corpus: files: 23 min: 100b max: 781b total: 4661b rss: 30Mb\n\
        #24\tINITED cov: 312 ft: 800 corp: 20/3Kb exec/s: 0 rss: 34Mb\n\
        #40\tNEW    cov: 313 ft: 801 corp: 21/3Kb lim: 781 exec/s: 0 rss: 34Mb L: 3/781 MS: 1\n\
        #52000\tDONE   cov: 345 ft: 1180 corp: 150/27Kb lim: 4096 exec/s: 52000 rss: 40Mb\n";

    #[test]
    fn a_run_says_what_it_did() {
        let expected = Outcome {
            inputs: 52_000,
            edges_at_first: 312,
            edges: 345,
            kept: "150/27Kb".to_owned(),
        };
        assert_eq!(Outcome::read(RUN).unwrap(), expected);
    }

    #[test]
    fn a_run_without_coverage_or_end_is_none() {
        let blind = RUN.replace("cov: 312", "cov: 0");
        let idle = RUN.replace("#52000", "#0");
        let stopped = RUN.replace("DONE", "pulse");
        for (said, expected) in [
            ("", "did not read the corpus"),
            (&blind, "without coverage"),
            (&idle, "ran nothing"),
            (&stopped, "did not end by itself"),
        ] {
            let error = Outcome::read(said).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
