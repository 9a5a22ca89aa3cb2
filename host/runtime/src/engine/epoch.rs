//! The clock of running guests: an OS thread that advances an engine's epoch every
//! millisecond while a guest is at work, and sleeps while none is. A thread of its own,
//! because an async runtime whose threads are all held by guests would never get round to
//! it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Time between two epochs: how long a guest runs at most before it yields its thread.
pub const TICK: Duration = Duration::from_millis(1);

/// Ticks until it is dropped.
pub struct Ticker {
    clock: Clock,
    /// Taken only by `drop`.
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    guests: AtomicUsize,
}

/// A guest at work: the epoch advances until it is dropped.
pub struct AtWork(Arc<State>);

/// Lets guests begin their work, wherever the ticker is kept.
#[derive(Clone)]
pub struct Clock {
    state: Arc<State>,
    ticker: Thread,
}

impl Ticker {
    /// Starts the thread that advances `engine`'s epoch.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(engine: &wasmtime::Engine) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let (ticking, engine) = (Arc::clone(&state), engine.clone());
        let tick = move || {
            while !ticking.stop.load(Ordering::SeqCst) {
                if ticking.guests.load(Ordering::SeqCst) == 0 {
                    // Whoever begins or stops meanwhile has left a token: this returns at once.
                    thread::park();
                } else {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        };
        let thread = thread::Builder::new().name("weir-epoch".to_owned()).spawn(tick)?;
        let clock = Clock { state, ticker: thread.thread().clone() };
        Ok(Self { clock, thread: Some(thread) })
    }

    /// What guests begin their work by.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }
}

impl Clock {
    /// A guest begins.
    #[must_use]
    pub fn begin(&self) -> AtWork {
        if self.state.guests.fetch_add(1, Ordering::SeqCst) == 0 {
            self.ticker.unpark();
        }
        AtWork(Arc::clone(&self.state))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.guests.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.clock.state.stop.store(true, Ordering::SeqCst);
        self.clock.ticker.unpark();
        if let Some(thread) = self.thread.take() {
            // It does nothing but tick, so there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// A module that counts nothing and never ends by itself.
    fn loops_until_interrupted(engine: &wasmtime::Engine) -> bool {
        // `(module (func (export "f") (loop br 0)))`
        let module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
        let module = wasmtime::Module::from_binary(engine, module).unwrap();
        let mut store = wasmtime::Store::new(engine, ());
        store.set_epoch_deadline(2);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        f.call(&mut store, ()).unwrap_err().downcast_ref() == Some(&wasmtime::Trap::Interrupt)
    }

    #[test]
    fn a_guest_at_work_is_interrupted_also_after_a_pause() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config).unwrap();
        let ticker = Ticker::start(&engine).unwrap();
        for _ in 0..3 {
            let _at_work = ticker.clock().begin();
            assert!(loops_until_interrupted(&engine));
        }
    }
}
