//! Waiting for conditions, each with a deadline.

use std::time::{Duration, Instant};

/// What a condition gets. Generous: a busy machine is no failure, and a condition that
/// comes true is not waited for any longer.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Asks until there is an answer; `what` says in the failure what was waited for.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
