//! A segment of a trace: from when to when, and how fast. It is read as a stream, with one line in memory.
//!
//! Operations before the segment are left out, also writes: the documents are then not what they would be
//! if all of the trace had been sent.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::line::{self, Kind, Operation};

/// The longest line that is read.
const MAX_LINE_BYTES: usize = 16 << 20;

/// A segment of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    trace: PathBuf,
    from_ms: u64,
    /// Without an end, it is all that follows.
    to_ms: Option<u64>,
    /// How many times as fast as the trace says.
    speed: f64,
}

/// An operation, and when it is due from the beginning of the segment.
#[derive(Debug, PartialEq)]
pub(super) struct Due {
    pub(super) due: Duration,
    pub(super) operation: Operation,
}

/// What is in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Survey {
    /// Operations by [`Kind`].
    pub(super) operations: [u64; 3],
    /// When the last one is due.
    pub(super) length: Duration,
}

impl Segment {
    /// The part of a trace between two times, in seconds of the trace.
    ///
    /// # Errors
    /// The times or the speed are none.
    pub(crate) fn new(
        trace: &Path,
        from_seconds: f64,
        to_seconds: Option<f64>,
        speed: f64,
    ) -> Result<Self> {
        ensure!(speed.is_finite() && speed > 0.0, "the speed must be over 0, but is {speed}");
        let (from_ms, to_ms) = (milliseconds(from_seconds)?, to_seconds.map(milliseconds));
        let to_ms = to_ms.transpose()?;
        ensure!(
            to_ms.is_none_or(|to_ms| from_ms < to_ms),
            "the segment must end after it begins, at {from_seconds} s"
        );
        Ok(Self { trace: trace.to_owned(), from_ms, to_ms, speed })
    }

    /// Opens the trace, and returns what is due in the segment, in order.
    pub(super) fn operations(&self) -> Result<Operations<BufReader<File>>> {
        let file = File::open(&self.trace);
        let file = file.with_context(|| format!("opening {}", self.trace.display()))?;
        Ok(Operations {
            segment: self.clone(),
            lines: BufReader::new(file),
            number: 0,
            last_ms: 0,
            is_over: false,
        })
    }

    /// Reads all of the segment once, so that a malformed line is refused before anything is sent.
    pub(super) fn survey(&self) -> Result<Survey> {
        let mut survey = Survey::default();
        for due in self.operations()? {
            let Due { due, operation } = due?;
            survey.operations[operation.kind as usize] += 1;
            survey.length = due;
        }
        ensure!(survey.total() > 0, "{} has no operation in this segment", self.trace.display());
        Ok(survey)
    }

    /// The segment in words.
    pub(crate) fn described(&self) -> String {
        let seconds = |ms: u64| ms as f64 / 1e3;
        let to = self.to_ms.map_or("its end".to_owned(), |ms| format!("{} s", seconds(ms)));
        format!(
            "{} from {} s to {to}, at speed {}",
            self.trace.display(),
            seconds(self.from_ms),
            self.speed
        )
    }
}

impl Survey {
    pub(super) fn total(&self) -> u64 {
        self.operations.iter().sum()
    }

    /// How many operations of a kind there are.
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.operations[kind as usize]
    }
}

fn milliseconds(seconds: f64) -> Result<u64> {
    ensure!(seconds.is_finite() && seconds >= 0.0, "{seconds} s is no time of a trace");
    Ok((seconds * 1e3).round() as u64)
}

/// The operations of a segment. After an error there are no more.
pub(super) struct Operations<R> {
    segment: Segment,
    lines: R,
    /// That of the last line, from 1.
    number: u64,
    last_ms: u64,
    is_over: bool,
}

impl<R: BufRead> Operations<R> {
    fn next_due(&mut self) -> Result<Option<Due>> {
        loop {
            let mut line = Vec::new();
            let limit = MAX_LINE_BYTES as u64 + 1;
            self.lines.by_ref().take(limit).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            ensure!(line.len() <= MAX_LINE_BYTES, "it is longer than {MAX_LINE_BYTES} bytes");
            let line = std::str::from_utf8(&line).context("it is not UTF-8")?;
            let (t_ms, operation) = line::parse(line)?;
            let last_ms = std::mem::replace(&mut self.last_ms, t_ms);
            if t_ms < last_ms {
                bail!("it comes at {t_ms} ms, after one at {last_ms} ms: sort the trace by time");
            }
            if self.segment.to_ms.is_some_and(|to_ms| t_ms >= to_ms) {
                return Ok(None);
            }
            if let Some(since_ms) = t_ms.checked_sub(self.segment.from_ms) {
                let seconds = since_ms as f64 / 1e3 / self.segment.speed;
                let due = Duration::try_from_secs_f64(seconds).context("its time is too late")?;
                return Ok(Some(Due { due, operation }));
            }
        }
    }
}

impl<R: BufRead> Iterator for Operations<R> {
    type Item = Result<Due>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.next_due();
        self.is_over = !matches!(next, Ok(Some(_)));
        let place = || format!("{}:{}", self.segment.trace.display(), self.number);
        next.with_context(place).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn lines(times_ms: &[u64]) -> String {
        let line = |t_ms: &u64| format!("{{\"t_ms\":{t_ms},\"op\":\"query\",\"body\":{{}}}}\n");
        times_ms.iter().map(line).collect()
    }

    fn read(segment: Segment, text: &str) -> Vec<Result<u64, String>> {
        let operations =
            Operations { segment, lines: text.as_bytes(), number: 0, last_ms: 0, is_over: false };
        let milliseconds = |due: Due| due.due.as_millis() as u64;
        operations.map(|due| due.map(milliseconds).map_err(|error| format!("{error:#}"))).collect()
    }

    fn segment(from: f64, to: Option<f64>, speed: f64) -> Segment {
        Segment::new(Path::new("t"), from, to, speed).unwrap()
    }

    #[test]
    fn a_segment_begins_at_its_first_millisecond_and_has_its_own_speed() {
        let text = lines(&[0, 999, 1_000, 1_500, 1_500, 2_000, 3_000]);
        for (segment, expected) in [
            (segment(0.0, None, 1.0), &[0, 999, 1_000, 1_500, 1_500, 2_000, 3_000][..]),
            (segment(1.0, Some(2.0), 1.0), &[0, 500, 500]),
            (segment(1.0, None, 2.0), &[0, 250, 250, 500, 1_000]),
            (segment(0.0, Some(1.0), 0.5), &[0, 1_998]),
            (segment(4.0, None, 1.0), &[]),
        ] {
            let due: Vec<_> = read(segment, &text).into_iter().map(Result::unwrap).collect();
            assert_eq!(due, expected);
        }
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        let good = lines(&[5, 6]);
        for (rest, expected) in [
            ("{\"t_ms\":7}\n", "t:3: it is not an operation"),
            ("\n", "t:3: it is not an operation"),
            (&lines(&[4]), "t:3: it comes at 4 ms, after one at 6 ms"),
            (&format!("{}x", lines(&[9])), "t:4: it is not an operation"),
        ] {
            let last = read(segment(0.0, None, 1.0), &format!("{good}{rest}")).pop().unwrap();
            assert!(last.as_ref().unwrap_err().starts_with(expected), "{last:?}");
        }
        // What is before the segment is checked too, and what comes after it is not read.
        assert!(read(segment(9.0, None, 1.0), "x\n")[0].is_err());
        assert_eq!(read(segment(0.0, Some(0.006), 1.0), &format!("{good}x")), [Ok(5)]);
    }

    #[test]
    fn a_line_has_a_longest_length() {
        let long = format!(
            "{{\"t_ms\":1,\"op\":\"query\",\"body\":{{\"q\":\"{}\"}}}}\n",
            "a".repeat(16 << 20)
        );
        let error = read(segment(0.0, None, 1.0), &long).remove(0).unwrap_err();
        assert_eq!(error, "t:1: it is longer than 16777216 bytes");
    }

    #[test]
    fn times_and_speeds_that_are_none_are_refused() {
        for (from, to, speed) in [
            (-1.0, None, 1.0),
            (f64::NAN, None, 1.0),
            (5.0, Some(5.0), 1.0),
            (0.0, None, 0.0),
            (0.0, None, f64::INFINITY),
        ] {
            Segment::new(Path::new("t"), from, to, speed).unwrap_err();
        }
    }

    #[test]
    fn a_survey_counts_and_an_empty_segment_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace.ndjson");
        let put = "{\"t_ms\":9,\"op\":\"put\",\"body\":{}}\n";
        std::fs::write(&trace, format!("{}{put}", lines(&[1, 2]))).unwrap();
        let survey = Segment::new(&trace, 0.001, None, 1.0).unwrap().survey().unwrap();
        let expected = Survey { operations: [2, 1, 0], length: Duration::from_millis(8) };
        assert_eq!(survey, expected);
        assert!(Segment::new(&trace, 1.0, None, 1.0).unwrap().survey().is_err());
    }
}
