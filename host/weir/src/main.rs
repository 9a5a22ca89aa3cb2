//! The `weir` program: arguments, then [`weir::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::cli::run()
}
