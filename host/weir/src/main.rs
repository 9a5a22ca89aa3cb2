//! The `weir` program: switches telemetry of ONNX Runtime off, then runs [`weir::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // Official builds of ONNX Runtime create a device id in the home folder, and may send an
    // event before their API lets a program switch telemetry off.
    // SAFETY: this is the first thing that the process does, so no other thread runs that could
    // read or write the environment at the same time. `cargo xtask dist --check` fails if there is
    // a file in the home folder.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    weir::cli::run()
}
