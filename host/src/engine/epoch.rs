//! The clock of running guests: an OS thread that advances an engine's epoch every
//! millisecond. A thread of its own, because an async runtime whose threads are all held by
//! guests would never get round to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time between two epochs: how long a guest runs at most before it yields its thread.
pub const TICK: Duration = Duration::from_millis(1);

/// Ticks until it is dropped.
pub struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts to advance `engine`'s epoch.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(engine: &wasmtime::Engine) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let engine = engine.clone();
        let tick = move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        };
        let thread = thread::Builder::new().name("weir-epoch".to_owned()).spawn(tick)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It does nothing but tick, so there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}
