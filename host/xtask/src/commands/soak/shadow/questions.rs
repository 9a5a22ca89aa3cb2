//! The questions of a trace, every second of them in capitals, so that there is something to merge and to split.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Copies a trace, and puts every second question into capitals.
pub(super) fn half_in_capitals(from: &Path, to: &Path) -> Result<()> {
    let file = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let mut copy = BufWriter::new(File::create(to)?);
    let mut asked = 0;
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line?;
        let place = || format!("{}:{}: it is not JSON", from.display(), index + 1);
        let mut line: Value = serde_json::from_str(&line).with_context(place)?;
        if let Some(Value::String(question)) = line.pointer_mut("/body/query") {
            asked += 1;
            if asked % 2 == 0 {
                *question = question.to_uppercase();
            }
        }
        writeln!(copy, "{line}")?;
    }
    copy.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn every_second_question_is_in_capitals_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| folder.path().join(name));
        let query =
            "{\"body\":{\"mode\":\"dense\",\"query\":\"wing\"},\"op\":\"query\",\"t_ms\":1}\n";
        let delete = "{\"id\":\"a\",\"op\":\"delete\",\"t_ms\":2}\n";
        std::fs::write(&from, [query, delete, query, query].concat()).unwrap();
        half_in_capitals(&from, &to).unwrap();
        let loud = query.replace("wing", "WING");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), [query, delete, &loud, query].concat());
        std::fs::write(&from, "no\n").unwrap();
        let error = half_in_capitals(&from, &to).unwrap_err();
        assert!(error.to_string().ends_with("from:1: it is not JSON"), "{error}");
    }
}
