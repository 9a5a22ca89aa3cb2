//! The `weir` program: switches telemetry of ONNX Runtime off, chooses TLS's cryptography, then runs
//! [`weir::cli`].

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// What is allocated on one thread is freed on another all the time here, and a server must give
/// memory back after a peak: a thread in the background does so within seconds. Next to glibc's, in turns on
/// two busy cores, an uncached `echo` took 0.98 and a hit 0.95 of the CPU time, within what rounds differ by.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    // Official builds of ONNX Runtime create a device id in the home folder, and may send an
    // event before their API lets a program switch telemetry off.
    // SAFETY: this is the first thing that the process does, so no other thread runs that could
    // read or write the environment at the same time. `cargo xtask dist --check` fails if there is
    // a file in the home folder.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    // Before the first TLS connection: with two providers linked in, that panics unless one is installed.
    weir::install_crypto_provider();
    weir::cli::run()
}
