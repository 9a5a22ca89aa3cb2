//! Moves on what is counted for the last minutes, at regular times. Out of scope: what that is.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use weir_cache::usage::windows::TURN;
use weir_runtime::pipeline::latencies::SLICE;

/// Latencies and shares of hits are moved on together.
const EVERY: Duration = {
    assert!(TURN.as_millis() == SLICE.as_millis(), "both are turned at once");
    TURN
};

/// Calls `turn` every ten seconds, until that returns `None`, because the server is gone, or the runtime
/// ends.
pub fn spawn(turn: impl Fn() -> Option<()> + Send + 'static) {
    tokio::spawn(async move {
        let mut interval = interval(EVERY);
        // Otherwise slices after a pause would be empty, and a minute too short.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once.
        interval.tick().await;
        loop {
            interval.tick().await;
            if turn().is_none() {
                return;
            }
        }
    });
}
