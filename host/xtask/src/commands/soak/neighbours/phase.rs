//! One phase: the good client and what runs next to it, and the way back to a quiet server.
//!
//! The good client and the attack have a thread each, with a runtime of its own, so that neither
//! waits for the other's work. They share the machine's cores with the server, as the honest
//! neighbour does: every phase pays for its clients.

use std::future::Future;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::setpriority_process;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::attacks::Attack;
use super::good_client::{GoodClient, Seen};
use super::target::Target;
use super::verdict::Phase;
use super::watch::{Handles, Peak, Process};
use super::world;
use crate::server::Server;

/// Before the first request that counts.
const WARM: Duration = Duration::from_secs(3);
/// How long the server may take to be quiet again; longer than any of its limits.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
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
    let target = Target::new(server.address())?;
    if let Some(attack) = attack {
        attack.prepare(target.clone()).await.context("preparing the attack")?;
    }
    // With a client of its own: that which prepared may have kept connections.
    drop(target);
    let target = Target::new(server.address())?;
    wait_until_quiet(&process, None).await?;
    let before = process.handles()?;
    process.forget_peak()?;
    let mut peak = Peak::default();
    let seen = tokio::select! {
        seen = measure(server.address(), attack, &target, settings.measured) => seen?,
        error = process.watch(&mut peak, settings.budget_mib * ABANDONED_AT) => return Err(error),
    };
    let got = attack.map(|_| target.got().to_string()).unwrap_or_default();
    drop(target);
    let quiet_after = wait_until_quiet(&process, Some(before)).await?;
    let no_slot = world::echo(server).await.err().map(|error| format!("{error:#}"));
    let after = settled(&process, before).await?;
    if let Some(attack) = attack {
        attack.clear(Target::new(server.address())?).await.context("clearing up")?;
    }
    Ok(Phase { name, seen, peak, handles: [before, after], quiet_after, no_slot, got })
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

/// Runs a future on a thread with a runtime of its own. Its sockets are closed when it has ended.
fn on_own_thread<T, F>(
    name: &str,
    future: impl FnOnce() -> F + Send + 'static,
) -> Result<oneshot::Receiver<Result<T>>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = runtime.block_on(future());
        drop(runtime);
        // Nobody waits for it if the phase has failed.
        let _ = sender.send(result);
    })?;
    Ok(receiver)
}

/// Waits until the server does nothing and, if it is known, has no more connections than before.
/// Returns how long it took, or nothing if it took too long.
async fn wait_until_quiet(process: &Process, before: Option<Handles>) -> Result<Option<Duration>> {
    let began = Instant::now();
    let quiet = async {
        loop {
            let is_quiet = process.is_quiet().await?;
            let sockets = process.handles()?.sockets;
            if is_quiet && before.is_none_or(|before| sockets <= before.sockets) {
                return anyhow::Ok(began.elapsed());
            }
        }
    };
    timeout(QUIET_WITHIN, quiet).await.ok().transpose()
}

/// What the server has open when the request that has just been answered has gone.
async fn settled(process: &Process, before: Handles) -> Result<Handles> {
    for _ in 0..5 {
        if process.handles()?.sockets <= before.sockets {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    process.handles()
}
