//! The clock of running guests: an OS thread that advances the epoch of their engines every
//! millisecond while a guest is running, and sleeps otherwise. It is a dedicated thread, because
//! guests can occupy all threads of an async runtime.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Time between two epochs: about how long a guest runs before it yields its thread.
pub const TICK: Duration = Duration::from_millis(1);

/// Owns the thread that advances the epoch. Dropping it stops the thread.
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

/// A running guest: the epoch advances until this is dropped.
pub struct AtWork(Arc<State>);

/// Registers running guests with the [`Ticker`].
#[derive(Clone)]
pub struct Clock {
    state: Arc<State>,
    ticker: Thread,
}

impl Ticker {
    /// Starts the thread that advances the epoch of these engines.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(engines: &[&wasmtime::Engine]) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let ticking = Arc::clone(&state);
        let engines: Vec<_> = engines.iter().copied().cloned().collect();
        let tick = move || {
            while !ticking.stop.load(Ordering::SeqCst) {
                if ticking.guests.load(Ordering::SeqCst) == 0 {
                    // If a guest or a stop came after the check, it has unparked this thread, and
                    // the call returns at once.
                    thread::park();
                } else {
                    thread::sleep(TICK);
                    engines.iter().for_each(wasmtime::Engine::increment_epoch);
                }
            }
        };
        let thread = thread::Builder::new().name("weir-epoch".to_owned()).spawn(tick)?;
        let clock = Clock { state, ticker: thread.thread().clone() };
        Ok(Self { clock, thread: Some(thread) })
    }

    /// The clock that guests register with.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }
}

impl Clock {
    /// Registers a guest as running.
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
            // The thread only ticks, so its result does not matter.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Runs an endless loop. Returns whether an epoch interrupted it.
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
        let engines = [(); 2].map(|()| wasmtime::Engine::new(&config).unwrap());
        let ticker = Ticker::start(&engines.each_ref()).unwrap();
        for engine in engines.iter().cycle().take(4) {
            let _at_work = ticker.clock().begin();
            assert!(loops_until_interrupted(engine));
        }
    }
}
