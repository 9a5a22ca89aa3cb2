//! Threads that compute, and threads that answer.
//!
//! A hit takes microseconds, and a batch of embeddings takes tens of milliseconds. If both are equal
//! to the operating system, a hit that arrives while every core computes waits for the scheduler.
//! So threads that compute for long lower their priority: they get all of the time that the others
//! leave, and give it back at once when a request arrives.

/// How much nicer a thread that computes is, as in `nice(1)`. When both kinds want a core all the
/// time, the one that answers gets three quarters of it: enough, and computing still goes on.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// Lowers the priority of the calling thread. Where threads have none of their own, this does
/// nothing.
pub fn lower() {
    // Refused only if the process may not even be nicer, which costs latency and nothing else.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_calling_thread_is_lowered() {
        let before = getpriority_process(None).ok();
        let lowered = thread::spawn(|| {
            lower();
            getpriority_process(None).ok()
        });
        assert_eq!(lowered.join().ok().flatten(), Some(NICENESS));
        assert_eq!(getpriority_process(None).ok(), before);
    }
}
