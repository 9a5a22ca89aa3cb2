//! The `weir` program of the exactness tests, with the fault that `WEIR_FAULT` names
//! ([`weir_core::fault`]). Never shipped.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: as in `main.rs`: no other thread runs yet.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    weir::install_crypto_provider();
    weir::cli::run()
}
