//! Measures stores that could be the cache's shared tier on one disk: Weir's own, with redb, and others.
//!
//! Each of [`stores`] gets the same [`traffic`], in a process of its own, in rounds. [`run`] drives one of
//! them and says what it cost; [`figures`] makes one table of all. `docs/benchmarks.md` says what the columns
//! mean.
//!
//! Out of scope: what the server puts around a store (encoding, authentication, the queue of writes), which
//! is the same for all of them, and what happens when the disk fails.

mod figures;
mod process;
mod run;
mod stores;
mod traffic;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::figures::Figures;
use crate::stores::Kind;
use crate::traffic::Traffic;

/// Measures stores for the cache's shared tier on disk
#[derive(Parser)]
struct Options {
    /// How often each store is measured; medians are printed
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How much is written, in MiB
    #[arg(long, default_value_t = 1024)]
    written_mib: u64,
    /// How large a store may become, in MiB
    #[arg(long, default_value_t = 256)]
    limit_mib: u64,
    /// How much is written in a second, in MiB, instead of as much as the store takes
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    mib_per_second: Option<u64>,
    /// Only these stores, instead of all
    #[arg(value_enum, long = "store", value_name = "STORE")]
    stores: Vec<Kind>,
    /// A folder on the disk to measure; a folder within it is used, and removed
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// Measures this store in this process, and prints JSON
    #[arg(value_enum, long, hide = true)]
    here: Option<Kind>,
}

impl Options {
    fn traffic(&self) -> Result<Traffic> {
        ensure!(
            self.limit_mib >= 32,
            "--limit-mib must be at least 32, or blocks of stores are too few"
        );
        ensure!(
            self.written_mib >= 3 * self.limit_mib,
            "--written-mib must be at least three times --limit-mib, or nothing is old"
        );
        let bytes_per_second = self.mib_per_second.map(|mib| mib << 20);
        Ok(Traffic::new(self.written_mib << 20, self.limit_mib << 20, bytes_per_second))
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let traffic = options.traffic()?;
    if let Some(kind) = options.here {
        let figures = run::measure(kind, traffic, &options.folder)?;
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    let kinds = if options.stores.is_empty() { Kind::ALL.to_vec() } else { options.stores.clone() };
    let mut measured: Vec<Vec<Figures>> = vec![Vec::new(); kinds.len()];
    for round in 0..options.rounds {
        // Another one is the first of each round: what the one before has left to the disk costs the next.
        for turn in 0..kinds.len() {
            let turn = (turn + round) % kinds.len();
            let kind = kinds[turn];
            eprintln!("round {} of {}: {kind}", round + 1, options.rounds);
            let figures = in_its_own_process(kind, &options)?;
            eprintln!("{}", figures::row(kind, std::slice::from_ref(&figures)));
            measured[turn].push(figures);
        }
    }
    println!("{}", figures::HEAD);
    for (kind, rounds) in kinds.iter().zip(&measured) {
        println!("{}", figures::row(*kind, rounds));
    }
    let expired_found: u64 = measured.iter().flatten().map(|figures| figures.expired_found).sum();
    ensure!(expired_found == 0, "entries were returned after their ttl");
    Ok(())
}

/// A process of its own, so that its memory and what it wrote are this store's alone.
fn in_its_own_process(kind: Kind, options: &Options) -> Result<Figures> {
    let folder = tempfile::tempdir_in(&options.folder)?;
    let pace = options.mib_per_second.map(|mib| format!("--mib-per-second={mib}").into());
    let arguments = [
        "--here".into(),
        kind.to_string().into(),
        "--written-mib".into(),
        options.written_mib.to_string().into(),
        "--limit-mib".into(),
        options.limit_mib.to_string().into(),
        "--folder".into(),
        folder.path().into(),
    ];
    let arguments: Vec<_> = arguments.into_iter().chain(pace).collect();
    let json = process::again(&arguments).with_context(|| format!("measuring {kind}"))?;
    Ok(serde_json::from_str(&json)?)
}
