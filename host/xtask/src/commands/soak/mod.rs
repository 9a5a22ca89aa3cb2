//! `cargo xtask soak`: the long forms of tests, for as long as one wants.
//!
//! `freshness`, `faults`, `swaps` and `crashes` run tests of `tests/`, and [`fuzz`] runs fuzz targets. [`canaries`],
//! [`neighbours`], [`overload`], [`hostile`], [`redis`] and [`shadow`] are experiments: their results are tables, so
//! they are not tests. They share [`experiment`].

mod canaries;
mod experiment;
mod fuzz;
mod hostile;
mod neighbours;
mod overload;
mod redis;
mod shadow;

use std::ffi::OsString;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::canaries::Canaries;
use self::fuzz::Fuzz;
use self::hostile::Hostile;
use self::neighbours::Neighbours;
use self::overload::Overload;
use self::redis::RedisInTrouble;
use self::shadow::Shadow;
use super::test::Test;

/// The fewest answers that a soak checks per minute. A slower machine takes longer.
const ANSWERS_PER_MINUTE: u64 = 5_000;
/// The runs of a soak of freshness: the tests whose names begin with `every_answer`.
const RUNS: u64 = 8;
/// Fewer seconds of load are no long run.
const LEAST_SECONDS: u64 = 36;

/// Run the long form of a test
#[derive(Args)]
pub(crate) struct Soak {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// Check every answer while documents are written and the server is killed
    ///
    /// Six writers and some readers put a server under load, with restarts and kills in between.
    /// Each answer is compared with what the documents at its position imply, and the shares of
    /// hits, followers and answers from a lagging index are checked. The time is divided among eight
    /// runs: over one collection and over two, from the shared tier alone, with a policy that allows
    /// old answers, and four with a Redis that is stopped, killed, emptied, filled with garbage, cut
    /// off, or replaced by its Sentinels or in its Cluster.
    Freshness {
        /// How long the load lasts
        #[arg(long, default_value_t = 40)]
        minutes: u64,
    },
    /// Prove that the check of freshness would find mistakes, and crash at every point of a write
    ///
    /// Builds a server that can have a fault on purpose, such as tags that move too late, and
    /// expects that the check finds a wrong answer for each of them, and none without. The same
    /// server dies at each point of a write and of what follows from it, and another goes on. So do
    /// the stores of plugins, deployments and tokens.
    Faults,
    /// Swap pipelines and policies a thousand times while clients ask
    ///
    /// No request is lost, each answer is what its revision makes, a tenth of the uploads are refused, and the
    /// 99th percentile of requests is at most 1.5 times that without swaps. The server's memory and address space
    /// are afterwards what they were. Run nothing else at the same time.
    Swaps {
        /// How many
        #[arg(long, default_value_t = 1_000)]
        swaps: u32,
    },
    /// End the server while plugins are pushed and deployed, again and again
    ///
    /// It is killed during uploads, deployments, rollbacks and removals, at times that differ, and dies at each point
    /// at which one of them writes, half of the times each. Whenever it is started again, it has the old or the new,
    /// everything that it has acknowledged, and nothing that cannot be removed. The stores alone die at their points,
    /// too.
    Crashes {
        /// How many times
        #[arg(long, default_value_t = 200)]
        crashes: u32,
    },
    Canaries(Canaries),
    Neighbours(Neighbours),
    Overload(Overload),
    Hostile(Hostile),
    Redis(RedisInTrouble),
    Shadow(Shadow),
    Fuzz(Fuzz),
}

impl Soak {
    pub(crate) async fn run(self) -> Result<()> {
        let test = match self.subject {
            Subject::Canaries(canaries) => return canaries.run().await,
            Subject::Neighbours(neighbours) => return neighbours.run().await,
            Subject::Hostile(hostile) => return hostile.run().await,
            Subject::Overload(overload) => return overload.run().await,
            Subject::Redis(redis) => return redis.run().await,
            Subject::Shadow(shadow) => return shadow.run().await,
            Subject::Fuzz(fuzz) => return fuzz.run(),
            Subject::Freshness { minutes } => {
                let answers = (minutes * ANSWERS_PER_MINUTE / RUNS).max(ANSWERS_PER_MINUTE);
                let seconds = (minutes * 60 / RUNS).max(LEAST_SECONDS);
                Test {
                    arguments: integration("exactness::every_answer"),
                    variables: vec![
                        ("WEIR_EXACTNESS_SECONDS", seconds.to_string()),
                        ("WEIR_EXACTNESS_ANSWERS", answers.to_string()),
                    ],
                    ..Test::default()
                }
            }
            Subject::Swaps { swaps } => Test {
                arguments: integration("live::swaps"),
                variables: vec![("WEIR_SWAPS", swaps.to_string())],
                ..Test::default()
            },
            Subject::Crashes { crashes } => Test {
                arguments: integration("live::crashes"),
                variables: vec![("WEIR_CRASHES", crashes.to_string())],
                with_faults: true,
                ..Test::default()
            },
            Subject::Faults => {
                Test { arguments: integration("faults::"), with_faults: true, ..Test::default() }
            }
        };
        test.run()
    }
}

/// Arguments for the runner: the tests of `tests/` with this in their names. No others are built.
fn integration(filter: &str) -> Vec<OsString> {
    ["--test", "integration", filter].map(OsString::from).into()
}
