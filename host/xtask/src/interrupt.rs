//! Catches Ctrl-C and SIGTERM, so that this process can stop its children and remove its temporary
//! files before it exits.

use anyhow::{Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives Ctrl-C and SIGTERM from the moment it is created.
pub(crate) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Does `work`, which is dropped if either signal comes first: what it holds must clean up after
    /// itself.
    ///
    /// # Errors
    /// Those of the work, or that it was interrupted.
    pub(crate) async fn or<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut interrupt = Self::new()?;
        tokio::select! {
            result = work => result,
            () = interrupt.received() => bail!("interrupted"),
        }
    }

    /// Waits for either signal.
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
