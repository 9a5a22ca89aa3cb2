//! Whether the server has given everything back when clients have gone: it does nothing, has no more
//! open than before, and a guest gets a slot.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::time::timeout;

use super::world;
use crate::server::Server;
use crate::watch::{Handles, Process};

/// How long the server may take to be quiet again; longer than any of its limits.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// The database and the index keep files open for the next use. More than these are a leak.
const FILES_KEPT: usize = 16;

/// What the server had before its clients came, and when they had gone.
#[derive(Clone, Debug)]
pub(crate) struct Afterwards {
    /// What the server had open before, and when it was quiet again.
    pub(crate) handles: [Handles; 2],
    /// How long it took to be quiet; nothing if it never was.
    pub(crate) quiet_after: Option<Duration>,
    /// Why no guest got a slot afterwards, if none did.
    pub(crate) no_slot: Option<String>,
}

impl Afterwards {
    /// Waits until the server is quiet, and looks at what it has.
    pub(crate) async fn see(server: &Server, before: Handles) -> Result<Self> {
        let process = Process::new(server.id()?);
        let quiet_after = wait_until_quiet(&process, Some(before)).await?;
        let no_slot = world::echo(server).await.err().map(|error| format!("{error:#}"));
        let after = settled(&process, before).await?;
        Ok(Self { handles: [before, after], quiet_after, no_slot })
    }

    /// What did not come back, in words.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        let [before, after] = self.handles;
        if self.quiet_after.is_none() {
            left.push("not quiet again".to_owned());
        }
        if after.sockets > before.sockets {
            left.push(format!("{} connections left", after.sockets - before.sockets));
        }
        if after.others > before.others + FILES_KEPT {
            left.push(format!("{} handles left", after.others - before.others));
        }
        if let Some(why) = &self.no_slot {
            left.push(format!("no slot: {why}"));
        }
        left
    }
}

/// Waits until the server does nothing, before something is measured.
///
/// # Errors
/// It goes on for too long.
pub(crate) async fn must_be_quiet(process: &Process) -> Result<()> {
    ensure!(wait_until_quiet(process, None).await?.is_some(), "the server is not quiet");
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said() {
        let handles = Handles { sockets: 3, others: 20 };
        let change = |change: fn(&mut Afterwards)| {
            let mut after = Afterwards {
                handles: [handles, handles],
                quiet_after: Some(Duration::from_millis(500)),
                no_slot: None,
            };
            change(&mut after);
            after.left_behind()
        };
        assert!(change(|_| {}).is_empty());
        assert_eq!(change(|after| after.handles[1].sockets = 5), ["2 connections left"]);
        assert_eq!(change(|after| after.handles[1].others = 37), ["17 handles left"]);
        assert!(change(|after| after.handles[1].others = 36).is_empty());
        assert!(change(|after| after.handles[1].sockets = 0).is_empty());
        assert_eq!(change(|after| after.quiet_after = None), ["not quiet again"]);
        assert_eq!(change(|after| after.no_slot = Some("503".into())), ["no slot: 503"]);
    }
}
