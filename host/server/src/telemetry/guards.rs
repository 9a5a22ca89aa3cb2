//! The states of guards in the text of `/metrics`, read when it is asked for. Out of scope: what they mean
//! (`weir_limits::guard`).

use std::fmt::Write as _;

use crate::services::SharedTierService;

const NAME: &str = "weir_guards";
const HELP: &str =
    "Guards of what the server uses, by their state: those that are open refuse calls.";

/// Appends how many guards of the shared tier are in each state.
pub fn write(text: &mut String, tier: &SharedTierService) {
    if tier.is_empty() {
        return;
    }
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP {NAME} {HELP}\n# TYPE {NAME} gauge");
    for (state, guards) in tier.states() {
        let backend = tier.backend;
        let labels = format!("service=\"shared-tier\",backend=\"{backend}\",state=\"{state}\"");
        let _ = writeln!(text, "{NAME}{{{labels}}} {guards}");
    }
}
