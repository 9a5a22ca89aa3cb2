//! Bounds on what an experiment measures.

use std::fmt::Write;

use anyhow::{Result, ensure};

const HEAD: &str = "| bound | measured | must be | holds |\n|---|---:|---|---|\n";

/// A bound, and whether it holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) name: &'static str,
    pub(crate) most: String,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

/// The bounds as a table in Markdown.
pub(crate) fn table(bounds: &[Bound]) -> String {
    let mut text = HEAD.to_owned();
    for Bound { name, most, measured, holds } in bounds {
        let holds = if *holds { "yes" } else { "no" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {name} | {measured} | {most} | {holds} |");
    }
    text
}

/// Fails unless all bounds hold.
pub(crate) fn all_must_hold(bounds: &[Bound]) -> Result<()> {
    let broken = bounds.iter().filter(|bound| !bound.holds);
    let names: Vec<_> = broken.map(|bound| bound.name).collect();
    ensure!(names.is_empty(), "not within the bounds: {}", names.join(", "));
    Ok(())
}
