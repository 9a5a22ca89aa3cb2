//! The `weir` program: arguments, then [`weir::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    // ONNX Runtime's own builds create a device id below the home folder, and may send an event
    // before their programming interface lets a program switch telemetry off.
    // SAFETY: this is the first thing that the process does, so no other thread runs that could
    // read or write the environment at the same time. `cargo xtask dist --check` fails on a file
    // below the home folder.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    weir::cli::run()
}
