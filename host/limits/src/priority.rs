//! Threads that answer, threads that compute for all, and threads that run what is not trusted.
//!
//! A hit takes microseconds, a batch of embeddings takes milliseconds, and a guest takes as long as
//! it likes. If they are equal to the operating system, a hit that arrives while every core computes
//! waits for the scheduler, and the embedding that many wait for goes at the pace of whoever computes
//! most. So threads that compute for long lower their priority: they get all of the time that the others
//! leave, and give it back at once when a request arrives.

/// What a thread does, from what is most urgent to what is least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Work that takes no longer than answering a request does, such as most runs of guests. Its threads keep
    /// the priority that they have, as those that answer do: a thread of a lower one would be interrupted
    /// by each answer that it makes.
    Short,
    /// Work that the host does for all, such as embedding and searching.
    Shared,
    /// Guests that compute for long.
    Long,
}

impl Work {
    /// How much nicer its threads are, as in `nice(1)`. Of a core that one thread of each kind wants all
    /// the time, Linux gives about 41 percent each to short work and to the one that answers, 13 to shared
    /// and 4 to long work (the weights of `sched_prio_to_weight`): nothing stops.
    #[cfg(target_os = "linux")]
    fn niceness(self) -> i32 {
        match self {
            Self::Short => 0,
            Self::Shared => 5,
            Self::Long => 10,
        }
    }
}

/// Lowers the priority of the calling thread to that of `work`. Where threads have none of their own,
/// this does nothing.
pub fn lower(work: Work) {
    if work == Work::Short {
        return;
    }
    // Refused only if the process may not even be nicer, which costs latency and nothing else.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, work.niceness());
    #[cfg(not(target_os = "linux"))]
    let _ = work;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::thread;

    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn only_the_calling_thread_is_lowered() {
        let before = getpriority_process(None).ok();
        for work in [Work::Shared, Work::Long] {
            let lowered = thread::spawn(move || {
                lower(work);
                getpriority_process(None).ok()
            });
            assert_eq!(lowered.join().ok().flatten(), Some(work.niceness()));
        }
        assert_eq!(getpriority_process(None).ok(), before);
    }
}
