//! `cargo xtask soak redis`: whether hits of the memory tier notice what happens to the Redis behind it.
//!
//! Phases without trouble and phases with one kind of it ([`trouble`]) take turns in one run. In each, one
//! client asks questions that are in memory, at a steady rate, and others ask new ones, which are looked
//! up in Redis, computed, and stored there ([`phase`]). [`verdict`] compares the 99th percentile of the hits'
//! times of the phases with trouble with that of the phases without, and [`report`] prints.
//!
//! Out of scope: whether answers are right, which `soak freshness` checks during the same troubles.

mod phase;
mod report;
mod trouble;
mod verdict;

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use self::phase::Phase;
use self::trouble::{Redis, TROUBLES};
use crate::commands::soak::experiment::bound;
use crate::commands::soak::experiment::stage::Stage;
use crate::interrupt::Interrupt;
use crate::machine;
use crate::server::Server;
use crate::set_up;

/// Measure hits of the memory tier while its Redis is in trouble
///
/// Starts a server with a Redis behind a proxy. Asks 200 questions a second that are in memory, and 10
/// a second that are new, while Redis is stopped, killed, slow, silent, cut off and reset, each after
/// as long a time without trouble. Prints a table, and writes it to soak/redis.md in the target folder.
///
/// Fails if the 99th percentile of hits with trouble is over 1.3 times that without, if a hit does
/// not come from the memory, if a new question is not answered, or if a trouble was none: no lookup
/// in Redis failed. Run nothing else at the same time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RedisInTrouble {
    /// Seconds for which each phase is measured
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure the server and the components that were built last
    #[arg(long)]
    no_build: bool,
}

impl RedisInTrouble {
    pub(super) async fn run(self) -> Result<()> {
        // Dropping this future stops the server and Redis.
        Interrupt::or(self.measure()).await
    }

    async fn measure(&self) -> Result<()> {
        set_up::redis()?;
        let mut redis = Redis::start().await;
        let stage = Stage::set(self.no_build, |sections| redis.configure(sections)).await?;
        let phases = self.phases(&stage.server, &mut redis).await;
        if let Ok(phases) = &phases {
            stage.report("redis", &report::markdown(phases, &machine::description()?))?;
        }
        let phases = stage.clear(phases).await?;
        bound::all_must_hold(&verdict::bounds(&phases))
    }

    async fn phases(&self, server: &Server, redis: &mut Redis) -> Result<Vec<Phase>> {
        let measured = Duration::from_secs(self.seconds);
        let mut phases = Vec::new();
        for trouble in TROUBLES {
            for trouble in [None, Some(trouble)] {
                let phase = phase::run(server, redis, trouble, measured).await?;
                eprintln!("{}", report::line(&phase));
                phases.push(phase);
            }
        }
        Ok(phases)
    }
}
