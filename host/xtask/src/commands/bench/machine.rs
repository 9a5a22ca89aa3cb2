//! The machine that is measured on: what it is, and the CPU time that it spends.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::clock_getcpuclockid;
use nix::unistd::{Pid, SysconfVar, sysconf};

/// What a reader needs to compare figures: processor, cores, memory, kernel.
pub(crate) fn description() -> Result<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let model = value_of(&processors, "model name").unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let kibibytes: u64 = value_of(&memory, "MemTotal")
        .and_then(|total| total.split(' ').next()?.parse().ok())
        .context("/proc/meminfo has no MemTotal")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let gibibytes = kibibytes as f64 / f64::from(1 << 20);
    Ok(format!("{model}, {cores} cores, {gibibytes:.0} GiB, Linux {}", kernel.trim()))
}

/// What others spend is counted too: says so when there are others.
pub(crate) fn warn_if_busy() -> Result<()> {
    let busy = busy_share(Duration::from_secs(1))?;
    if busy > 0.02 {
        eprintln!(
            "{:.0} % of the machine is busy with something else: CPU times will be too high",
            busy * 100.0
        );
    }
    Ok(())
}

/// The share of all cores that is in use over an interval.
fn busy_share(interval: Duration) -> Result<f64> {
    let id = std::process::id();
    let before = CpuTime::now(id)?;
    std::thread::sleep(interval);
    let spent = CpuTime::now(id)?.since(before);
    let cores = std::thread::available_parallelism()?.get() as f64;
    Ok(spent.machine.as_secs_f64() / interval.as_secs_f64() / cores)
}

fn value_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

/// CPU time spent so far.
#[derive(Clone, Copy)]
pub(crate) struct CpuTime {
    /// By everything on the machine, interrupts included.
    machine: Duration,
    /// By one process, all of its threads.
    process: Duration,
    /// By this process and its children that have ended: the load generators.
    own: Duration,
}

/// CPU time spent between two moments by those who answered.
pub(crate) struct Spent {
    /// All of the machine's but the load generator's.
    pub(crate) machine: Duration,
    /// The server process's own.
    pub(crate) process: Duration,
}

impl CpuTime {
    pub(crate) fn now(process: u32) -> Result<Self> {
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the system has no clock tick")?;
        let duration = |count: u64| Duration::from_secs_f64(count as f64 / ticks as f64);
        let machine = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        // To the nanosecond, threads that have ended included; /proc counts ticks of 10 ms.
        let clock = clock_getcpuclockid(Pid::from_raw(process.try_into()?))
            .context("the process that is measured has ended")?;
        let mut own = Duration::ZERO;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            for time in [usage.user_time(), usage.system_time()] {
                own += Duration::new(time.tv_sec().try_into()?, 0)
                    + Duration::from_micros(time.tv_usec().try_into()?);
            }
        }
        Ok(Self {
            machine: duration(busy_ticks(&machine).context("/proc/stat has no line of cpu")?),
            process: Duration::from(clock.now()?),
            own,
        })
    }

    pub(crate) fn since(self, before: Self) -> Spent {
        let own = self.own.saturating_sub(before.own);
        let machine = self.machine.saturating_sub(before.machine);
        Spent {
            machine: machine.saturating_sub(own),
            process: self.process.saturating_sub(before.process),
        }
    }
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`: without idle,
/// iowait and steal; guest is part of user.
fn busy_ticks(stat: &str) -> Option<u64> {
    let numbers: Vec<u64> = stat
        .lines()
        .find_map(|line| line.strip_prefix("cpu "))?
        .split_whitespace()
        .map_while(|number| number.parse().ok())
        .collect();
    [0, 1, 2, 5, 6].into_iter().map(|index| numbers.get(index).copied()).sum()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn busy_is_everything_but_idle_waiting_and_stolen() {
        let stat = "cpu  100 20 30 4000 500 6 7 80 9 1\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_ticks(stat), Some(100 + 20 + 30 + 6 + 7));
        assert_eq!(busy_ticks("intr 5"), None);
    }

    #[test]
    fn this_process_has_spent_time() {
        let before = CpuTime::now(std::process::id()).unwrap();
        let spent = CpuTime::now(std::process::id()).unwrap().since(before);
        assert!(spent.process < Duration::from_secs(60));
        assert!(description().unwrap().contains("cores"));
        assert!(busy_share(Duration::from_millis(1)).unwrap() >= 0.0);
    }
}
