//! Waiting for conditions, each with a deadline.

use std::time::{Duration, Instant};

/// The deadline for a condition. It is generous, because a busy machine is not a failure and the
/// wait ends as soon as the condition holds.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Calls `ask` until it returns something. `what` describes the condition in the failure message.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "this did not happen within {DEADLINE:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
