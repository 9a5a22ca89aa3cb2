//! One phase: the good client and what runs next to it, and the way back to a quiet server.
//!
//! The good client and the attack have a thread each, with a runtime of its own, so that neither
//! waits for the other's work. They share the machine's cores with the server, as the honest
//! neighbour does: every phase pays for its clients.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;

use super::attacks::Attack;
use super::good_client::{GoodClient, Seen};
use super::verdict::Phase;
use crate::commands::soak::experiment::afterwards::{Afterwards, must_be_quiet};
use crate::commands::soak::experiment::target::Target;
use crate::server::Server;
use crate::traffic::threads::on_own_thread;
use crate::watch::{Peak, Process};

/// Before the first request that counts.
const WARM: Duration = Duration::from_secs(3);
/// Much more than the budget would take the machine's memory from others: the phase ends.
const ABANDONED_AT: u64 = 4;
/// How much an attack yields to the server and to the good client, as in `nice(1)`.
const NICENESS: i32 = 5;

/// How phases are measured.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) measured: Duration,
    pub(super) budget_mib: u64,
}

/// Runs a phase, whose neighbour is `attack`, or nobody.
pub(super) async fn run(
    server: &Server,
    name: &'static str,
    attack: Option<&'static Attack>,
    settings: Settings,
) -> Result<Phase> {
    let process = Process::new(server.id()?);
    let target = Target::with_token(server)?;
    if let Some(attack) = attack {
        attack.prepare(target.clone()).await.context("preparing the attack")?;
    }
    // With a client of its own: that which prepared may have kept connections.
    drop(target);
    let target = Target::with_token(server)?;
    must_be_quiet(&process).await?;
    let before = process.handles()?;
    process.forget_peak()?;
    let mut peak = Peak::default();
    let seen = tokio::select! {
        seen = measure(server.address(), attack, &target, settings.measured) => seen?,
        error = process.watch(&mut peak, settings.budget_mib * ABANDONED_AT) => return Err(error),
    };
    let got = attack.map(|_| target.got().to_string()).unwrap_or_default();
    drop(target);
    let after = Afterwards::see(server, before).await?;
    if let Some(attack) = attack {
        attack.clear(Target::with_token(server)?).await.context("clearing up")?;
    }
    Ok(Phase { name, seen, peak, after, got })
}

/// Measures the good client while the attack runs.
async fn measure(
    address: SocketAddr,
    attack: Option<&'static Attack>,
    target: &Target,
    measured: Duration,
) -> Result<Seen> {
    // The good client is there before its neighbour.
    let (ready, is_ready) = oneshot::channel();
    let (start, started) = oneshot::channel();
    let seen = on_own_thread("good-client", move || async move {
        let good = GoodClient::prepare(address).await?;
        let _ = ready.send(());
        started.await?;
        Ok(good.run(WARM, measured).await)
    })?;
    if is_ready.await.is_err() {
        return seen.await?;
    }
    let Some(attack) = attack else {
        let _ = start.send(());
        return seen.await?;
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let target = target.clone();
    let mut attacked = on_own_thread("attack", move || async move {
        // In truth it has a machine of its own. Here, it must not take the cores from the good client,
        // whose times would say more about this process than about the server.
        setpriority_process(None, NICENESS)?;
        tokio::select! {
            attacked = attack.run(target) => attacked,
            _ = stopped => Ok(()),
        }
    })?;
    let _ = start.send(());
    let seen = tokio::select! {
        seen = seen => seen?,
        ended = &mut attacked => {
            ended??;
            bail!("the attack ended by itself");
        }
    };
    drop(stop);
    attacked.await??;
    seen
}
