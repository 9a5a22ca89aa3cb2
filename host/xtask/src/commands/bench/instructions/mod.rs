//! `cargo xtask bench instructions`: counts the instructions of an answer, which do not depend on
//! other load of the machine.
//!
//! `callgrind` counts, and `history` reads and writes the pinned figures.

mod callgrind;
mod history;

use std::process::Command;

use anyhow::{Result, bail, ensure};
use clap::Args;

use self::callgrind::Callgrind;
use self::history::{FILE, History, Pin};
use super::cases::{Case, ECHO, HIT};
use super::revision::{Revision, rustc_version};
use super::side::Side;
use super::statistics::Spread;
use super::this_checkout;
use crate::workspace::Workspace;
use crate::{process, set_up};

/// The cases, each with the number of answers per count.
static CASES: [(Case, usize); 2] = [(HIT, 500), (ECHO, 200)];
/// The largest allowed ratio of a figure to the one that it is compared with.
const BOUND: f64 = 1.02;

/// Count the instructions of an answer, and compare them with the pinned figures
///
/// The server runs under valgrind's callgrind. If valgrind is missing, Debian's package is
/// installed, as root or with sudo. There are two cases: a hit of the memory tier, and an uncached
/// `echo`. Each figure is compared with the last one of its case in
/// host/weir/benches/instructions.tsv. Fails if it is more than 1.02 times as high. If the change
/// is worth that, use --pin to append a line that says why, and commit it with the change. Figures
/// of different compilers or versions of valgrind cannot be compared.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Instructions {
    /// Compare with this revision of the repository instead of the pinned figures
    #[arg(long, value_name = "REV", conflicts_with = "pin")]
    against: Option<String>,
    /// Append the new figures to the pinned ones; WHY says what changed
    #[arg(long, value_name = "WHY")]
    pin: Option<String>,
    /// Only print the figures, and never fail because of a bound
    #[arg(long)]
    no_bounds: bool,
}

impl Instructions {
    pub(crate) async fn run(self) -> Result<()> {
        let valgrind = set_up::valgrind()?;
        let (workspace, tools) = this_checkout()?;
        let side = Side::build(&workspace, &tools.embedding)?;
        if let Some(revision) = &self.against {
            let revision = Revision::find(&workspace, revision)?;
            let other = revision.side(&workspace, &tools)?;
            let new = count(&side, "this checkout").await?;
            let other = count(&other, &revision.label()).await?;
            let within = print_ratios(&new, &other, &revision.label());
            ensure!(
                within || self.no_bounds,
                "an answer executes more instructions than its bound allows"
            );
            return Ok(());
        }
        let toolchain = toolchain(&valgrind)?;
        let mut history = History::read(&workspace)?;
        let counted = count(&side, "this checkout").await?;
        let verdict = compare(&counted, &history, &toolchain);
        if let Some(why) = self.pin {
            return pin(&workspace, &mut history, &counted, &toolchain, &why);
        }
        match verdict {
            _ if self.no_bounds => Ok(()),
            Verdict::Within => Ok(()),
            Verdict::Over => bail!(
                "an answer executes more instructions than its bound allows: find out what was \
                 added (`callgrind_annotate`, or --against the commit before), or say why it is \
                 worth it:\n    \
                 cargo xtask bench instructions --pin \"WHY\""
            ),
            Verdict::NotComparable => bail!(
                "the last figures in {FILE} were not counted with {toolchain}. To change the \
                 toolchain, count the last commit with the new one first:\n    \
                 cargo xtask bench instructions --pin \"TOOLCHAIN\""
            ),
        }
    }
}

/// The instructions of one case.
struct Counted {
    case: &'static Case,
    instructions: Spread,
}

async fn count(side: &Side, label: &str) -> Result<Vec<Counted>> {
    eprintln!("Starting {label} under valgrind …");
    let mut server = Callgrind::start(side).await?;
    let mut counted = Vec::new();
    for (case, answers) in &CASES {
        eprintln!("Counting, {} …", case.name);
        counted.push(Counted { case, instructions: server.count(case, *answers).await? });
    }
    server.stop().await?;
    Ok(counted)
}

/// The result of comparing figures, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Verdict {
    Within,
    /// The last pinned figure was counted with another toolchain, or there is none.
    NotComparable,
    Over,
}

impl Verdict {
    fn of(instructions: f64, pinned: Option<&Pin>, toolchain: &str) -> Self {
        match pinned {
            Some(pin) if pin.toolchain == toolchain => {
                let ratio = instructions / pin.instructions as f64;
                if ratio <= BOUND { Self::Within } else { Self::Over }
            }
            _ => Self::NotComparable,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::NotComparable => "not comparable",
            Self::Over => "OVER",
        }
    }
}

/// Prints figures next to the pinned ones, and returns the worst verdict.
fn compare(counted: &[Counted], history: &History, toolchain: &str) -> Verdict {
    println!("{toolchain}");
    println!("| answer | instructions | half of the counts | pinned | ratio | at most | |");
    println!("|---|---:|---:|---:|---:|---:|---|");
    let mut worst = Verdict::Within;
    for Counted { case, instructions } in counted {
        let pin = history.last(case.name);
        let verdict = Verdict::of(instructions.median, pin, toolchain);
        if verdict > worst {
            worst = verdict;
        }
        let (pinned, ratio) = pin.map_or_else(
            || ("none".to_owned(), "-".to_owned()),
            |pin| {
                let ratio = instructions.median / pin.instructions as f64;
                (format!("{} ({})", pin.instructions, pin.commit), format!("{ratio:.4}"))
            },
        );
        println!(
            "| {} | {:.0} | {:.0} to {:.0} | {pinned} | {ratio} | {BOUND} | {} |",
            case.name,
            instructions.median,
            instructions.low,
            instructions.high,
            verdict.word(),
        );
    }
    worst
}

/// Prints both and their ratios, and returns whether every case is within the bound.
fn print_ratios(new: &[Counted], other: &[Counted], label: &str) -> bool {
    println!("| answer | instructions, this | {label} | this ÷ {label} | at most | |");
    println!("|---|---:|---:|---:|---:|---|");
    let mut within = true;
    for (new, other) in new.iter().zip(other) {
        let ratio = new.instructions.median / other.instructions.median;
        let is_within = ratio <= BOUND;
        within &= is_within;
        println!(
            "| {} | {:.0} | {:.0} | {ratio:.4} | {BOUND} | {} |",
            new.case.name,
            new.instructions.median,
            other.instructions.median,
            if is_within { "within" } else { "OVER" },
        );
    }
    within
}

fn pin(
    workspace: &Workspace,
    history: &mut History,
    counted: &[Counted],
    toolchain: &str,
    why: &str,
) -> Result<()> {
    let date = process::output(Command::new("date").arg("+%F"))?.trim().to_owned();
    let mut describe = Command::new("git");
    describe.args(["describe", "--always", "--dirty", "--exclude=*"]);
    let commit = process::output(describe.current_dir(&workspace.root))?.trim().to_owned();
    let pin = |counted: &Counted| Pin {
        date: date.clone(),
        commit: commit.clone(),
        case: counted.case.name.to_owned(),
        instructions: counted.instructions.median.round() as u64,
        toolchain: toolchain.to_owned(),
        why: why.to_owned(),
    };
    history.append(counted.iter().map(pin).collect())?;
    println!("Pinned in {}: commit it together with the change", history.file().display());
    Ok(())
}

/// What figures depend on: the versions of the compiler and of valgrind.
fn toolchain(valgrind: &str) -> Result<String> {
    let rustc = rustc_version()?;
    let rustc = rustc.lines().next().unwrap_or_default();
    Ok(format!("{rustc}, {valgrind}"))
}

/// The check of CI: like `cargo xtask bench instructions`, but if figures cannot be counted or
/// compared, returns the reason instead of an error.
pub(crate) async fn check() -> Result<Option<String>> {
    let valgrind = match set_up::valgrind() {
        Ok(valgrind) => valgrind,
        Err(error) => return Ok(Some(format!("{error:#}"))),
    };
    let (workspace, tools) = this_checkout()?;
    let history = History::read(&workspace)?;
    let toolchain = toolchain(&valgrind)?;
    let is_pinned = |(case, _): &(Case, usize)| {
        history.last(case.name).is_some_and(|pin| pin.toolchain == toolchain)
    };
    if !CASES.iter().all(is_pinned) {
        return Ok(Some(format!("the last figures in {FILE} were not counted with {toolchain}")));
    }
    let side = Side::build(&workspace, &tools.embedding)?;
    let counted = count(&side, "the server").await?;
    ensure!(
        compare(&counted, &history, &toolchain) == Verdict::Within,
        "an answer executes more instructions than its bound allows: see \
         `cargo xtask bench instructions --help`"
    );
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_compared_with_its_own_toolchain_only() {
        let pin = Pin {
            date: String::new(),
            commit: String::new(),
            case: "hit".into(),
            instructions: 10_000,
            toolchain: "a".into(),
            why: String::new(),
        };
        for (instructions, toolchain, expected) in [
            (10_200.0, "a", Verdict::Within),
            (9_000.0, "a", Verdict::Within),
            (10_201.0, "a", Verdict::Over),
            (f64::NAN, "a", Verdict::Over),
            (10_000.0, "b", Verdict::NotComparable),
        ] {
            assert_eq!(Verdict::of(instructions, Some(&pin), toolchain), expected);
        }
        assert_eq!(Verdict::of(1.0, None, "a"), Verdict::NotComparable);
    }
}
