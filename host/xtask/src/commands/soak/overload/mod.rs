//! `cargo xtask soak overload`: what a server does with five times as much as it can do.
//!
//! Its capacity is measured first, in a closed loop ([`phase`]): so many clients, each with a new
//! question as soon as it has its answer. The most answers a second of them are the *peak*. Then five
//! times as many questions a second come in an open loop, whether or not the server keeps up. In every
//! phase, another client asks 200 questions a second that are in the cache. [`verdict`] compares, and
//! [`report`] prints.
//!
//! Clients and server share the machine's cores. The load has one thread, and so have the hits, without
//! a lower priority: their times are what is measured. Connections are kept, and the requests of the open
//! loop are made before its clock starts, so that the load costs little; but it does cost, a refusal as
//! much as an answer. So goodput under overload is lower than with clients on other machines, and times
//! are longer. How late requests were sent is in the report: where that is not small next to the times,
//! these are the generator's.

mod phase;
mod report;
mod verdict;

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use self::phase::Load;
use self::verdict::Measured;
use crate::commands::soak::experiment::bound;
use crate::commands::soak::experiment::stage::Stage;
use crate::interrupt::Interrupt;
use crate::machine;
use crate::server::Server;

/// How many clients there are in the closed loops.
const CLOSED: [usize; 2] = [16, 32];
/// How many times the peak is offered in the open loop.
const TIMES: f64 = 5.0;

/// Measure what a server does with five times as much as it can do
///
/// Measures the most new questions a second that the server answers (the peak), and then sends five
/// times as many, whether or not it keeps up. 200 questions a second from the cache are asked all the
/// time. Prints a table, and writes it to soak/overload.md in the target folder.
///
/// Fails if fewer than 80 % of the peak are answered; if the 99th percentile of those answers is over
/// 2 times that at the peak, that of refusals 10 ms or more, or that of hits over 2 times that at the
/// peak; or if a request ends in another way than by an answer or a refusal (503). Run nothing else at
/// the same time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Overload {
    /// Seconds for which each phase is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Measure the server and the components that were built last
    #[arg(long)]
    no_build: bool,
}

impl Overload {
    pub(super) async fn run(self) -> Result<()> {
        // Dropping this future stops the server and removes its folder.
        Interrupt::or(self.measure()).await
    }

    async fn measure(&self) -> Result<()> {
        let stage = Stage::set(self.no_build, |_| {}).await?;
        let measured = self.phases(&stage.server).await;
        if let Ok(measured) = &measured {
            stage.report("overload", &report::markdown(measured, &machine::description()?))?;
        }
        let measured = stage.clear(measured).await?;
        bound::all_must_hold(&measured.bounds())
    }

    async fn phases(&self, server: &Server) -> Result<Measured> {
        let run = async |load: Load| {
            eprintln!("{load} …");
            let phase = phase::run(server, load, Duration::from_secs(self.seconds)).await?;
            eprintln!("{}", report::line(&phase));
            anyhow::Ok(phase)
        };
        let alone = run(Load::None).await?;
        let [few, many] = CLOSED.map(|clients| Load::Closed { clients });
        let closed = [run(few).await?, run(many).await?];
        let peak = verdict::peak(&closed);
        let per_second = (peak.goodput() * TIMES).round() as u32;
        ensure!(per_second > 0, "the server answered no questions");
        let open = run(Load::Open { per_second }).await?;
        Ok(Measured { alone, closed, open })
    }
}
