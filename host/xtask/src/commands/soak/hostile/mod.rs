//! `cargo xtask soak hostile`: whether a server gives back what hostile calls made it take.
//!
//! Some clients make calls of a [`mix`] that does not change, each of them ([`calls`]) one after the
//! other. After the first tenth and a minute of rest, and again after all of them and a minute of rest,
//! the server's resident memory is read: what it keeps for later it has by the first time, and what it
//! has gained by the second time, the calls have leaked. Each kind of call must have ended as is
//! documented. [`report`] prints.
//!
//! All limits are at their defaults but two: the memory tier is so small that it is full after the first
//! tenth, since it is meant to fill up; and a guest that computes without end has 100 ms, since ten
//! seconds each would take hours.

mod calls;
mod mix;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::mix::Mix;
use self::report::{Measured, Memory};
use crate::commands::soak::experiment::afterwards::{Afterwards, must_be_quiet};
use crate::commands::soak::experiment::bombs;
use crate::commands::soak::experiment::stage::Stage;
use crate::commands::soak::experiment::target::Target;
use crate::interrupt::Interrupt;
use crate::machine;
use crate::server::Server;
use crate::traffic::threads::on_own_thread;
use crate::watch::Process;

/// Full after a few thousand answers.
const CACHE_BYTES: u64 = 4 << 20;
const LOOP_DEADLINE_MS: u64 = 100;
/// Documents with much metadata: few, so that the memory that they take hides nothing.
const BOMBS: u64 = 100;
/// How often the progress is printed.
const STEPS: u64 = 10;

/// Look for memory that hostile calls make a server lose
///
/// Makes calls of a fixed mix: guests that trap, overflow their stacks, take all memory or ask too much
/// of the host; requests that are malformed, too large or too costly, cut off or abandoned. Prints
/// tables, and writes them to soak/hostile.md in the target folder.
///
/// Fails if, after all calls and some rest, the server has over 5 % more or less memory than after
/// the first tenth and as much rest; if a call ended in another way than is documented; or if
/// connections, handles or slots for guests do not come back.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Hostile {
    /// How many calls to make
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    calls: u64,
    /// How many of them to make at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=64))]
    clients: u64,
    /// Seconds of rest before memory is read
    #[arg(long, default_value_t = 60)]
    rest_seconds: u64,
    /// Use the server and the components that were built last
    #[arg(long)]
    no_build: bool,
}

impl Hostile {
    pub(super) async fn run(self) -> Result<()> {
        // Dropping this future stops the server and removes its folder.
        Interrupt::or(self.measure()).await
    }

    async fn measure(&self) -> Result<()> {
        let stage = Stage::set(self.no_build, adjust).await?;
        let measured = self.calls(&stage.server).await;
        if let Ok(measured) = &measured {
            stage.report("hostile", &report::markdown(measured, &machine::description()?))?;
        }
        let violations = stage.clear(measured).await?.violations();
        ensure!(violations.is_empty(), "not within the bounds: {}", violations.join("; "));
        Ok(())
    }

    async fn calls(&self, server: &Server) -> Result<Measured> {
        bombs::prepare(Target::new(server.address())?, BOMBS).await?;
        let process = Process::new(server.id()?);
        must_be_quiet(&process).await?;
        let before = process.handles()?;
        let began = Instant::now();
        let mix = Arc::new(Mix::default());
        let mut memory = Vec::new();
        for range in [0..self.calls / STEPS, self.calls / STEPS..self.calls] {
            let (calls, clients, end) = (self.calls, self.clients, range.end);
            let (address, mix) = (server.address(), Arc::clone(&mix));
            // Its connections are closed before the server rests.
            let made = on_own_thread("calls", move || async move {
                make(&Target::new(address)?, &mix, range, calls, clients).await
            })?;
            made.await??;
            eprintln!("{} s of rest …", self.rest_seconds);
            tokio::time::sleep(Duration::from_secs(self.rest_seconds)).await;
            memory.push(Memory { calls: end, resident_kib: process.resident_kib()? });
        }
        let took = began.elapsed();
        let after = Afterwards::see(server, before).await?;
        let memory = memory.try_into().ok().context("memory is read twice")?;
        Ok(Measured { ends: mix.ends(), memory, after, took })
    }
}

/// Makes the calls with the numbers of a range, of `all` that there will be.
async fn make(
    target: &Target,
    mix: &Arc<Mix>,
    range: std::ops::Range<u64>,
    all: u64,
    clients: u64,
) -> Result<()> {
    let (began, first) = (Instant::now(), range.start);
    let next = Arc::new(AtomicU64::new(first));
    let mut running = JoinSet::new();
    for _ in 0..clients {
        let (target, mix, next) = (target.clone(), Arc::clone(mix), Arc::clone(&next));
        running.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= range.end {
                    return;
                }
                mix.call(&target, number).await;
                let made = number + 1;
                if made % (all / STEPS) == 0 {
                    let rate = (made - first) as f64 / began.elapsed().as_secs_f64();
                    eprintln!("{} %: {made} calls, {rate:.0} a second", made * 100 / all);
                }
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        ended?;
    }
    Ok(())
}

fn adjust(sections: &mut Value) {
    sections["cache"] = json!({ "memory_bytes": CACHE_BYTES });
    sections["pipelines"]["loop-forever"]["deadline_ms"] = json!(LOOP_DEADLINE_MS);
}
