//! What was predicted beside what came of it, in Markdown, and the bounds.

use std::fmt::Write as _;

use super::Compared;
use crate::commands::soak::experiment::bound::{self, Bound};

/// How far a prediction may be off, as a share of the lookups.
const MOST_OFF: f64 = 0.02;
const HEAD: &str = "| candidate | predicted | achieved | deployed, simulated | deployed, really | requests dropped |\n\
    |---|---:|---:|---:|---:|---:|\n";

/// The result of a candidate in one line, for those who wait.
pub(super) fn line(compared: &Compared) -> String {
    let [predicted, achieved] = compared.hits;
    format!("{}: predicted {predicted:.3}, achieved {achieved:.3}", compared.candidate)
}

/// All candidates, and the bounds.
pub(super) fn markdown(all: &[Compared], segment: &str, machine: &str) -> String {
    let mut text = HEAD.to_owned();
    for Compared { candidate, deployed, hits, dropped } in all {
        let ratios = [hits[0], hits[1], deployed[0], deployed[1]].map(|of| format!("{of:.3}"));
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {candidate} | {} | {dropped} |", ratios.join(" | "));
    }
    let table = bound::table(&bounds(all));
    let _ =
        write!(text, "\nHit ratios, both from an empty cache. {segment}. {machine}.\n\n{table}");
    text
}

/// How far off predictions may be.
pub(super) fn bounds(all: &[Compared]) -> Vec<Bound> {
    let bound = |name, of: fn(&Compared) -> [f64; 2]| {
        let off = all.iter().map(|compared| {
            let [simulated, really] = of(compared);
            (simulated - really).abs()
        });
        let most = off.fold(0.0, f64::max);
        Bound {
            name,
            most: format!("at most {:.0} points", MOST_OFF * 100.0),
            measured: format!("{:.1} points", most * 100.0),
            holds: !all.is_empty() && most <= MOST_OFF,
        }
    };
    vec![
        bound("candidates, predicted and achieved", |compared| compared.hits),
        bound("deployed, simulated and really", |compared| compared.deployed),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_prediction_is_what_is_bounded() {
        let of = |hits, deployed| Compared { candidate: "merges", deployed, hits, dropped: 3 };
        let good = of([0.80, 0.815], [0.5, 0.5]);
        let bad = of([0.80, 0.83], [0.5, 0.51]);
        assert!(bounds(&[of([0.8, 0.8], [0.5, 0.5])]).iter().all(|bound| bound.holds));
        let [candidates, deployed] = &bounds(&[good, bad])[..] else { panic!("two bounds") };
        assert_eq!((candidates.holds, &*candidates.measured), (false, "3.0 points"));
        assert_eq!((deployed.holds, &*deployed.measured), (true, "1.0 points"));
        let text = markdown(&[of([0.8, 0.81], [0.5, 0.502])], "a segment", "a machine");
        assert!(text.contains("| merges | 0.800 | 0.810 | 0.500 | 0.502 | 3 |\n"), "{text}");
        assert!(!bounds(&[])[0].holds, "nothing was compared");
    }
}
