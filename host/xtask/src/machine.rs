//! The machine that runs the measurements: its description, and the CPU time that it spends.

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

/// Warns if other processes use CPU time, because it affects the figures.
pub(crate) fn warn_if_busy() -> Result<()> {
    let busy = busy_share(Duration::from_secs(1))?;
    if busy > 0.02 {
        eprintln!(
            "other processes use {:.0} % of the machine's CPU time: figures may be too high",
            busy * 100.0
        );
    }
    Ok(())
}

/// The share of all cores' time that is used during an interval.
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
    /// By one process with all of its threads.
    process: Duration,
    /// By this process and its children that have exited: the load generators.
    own: Duration,
}

/// CPU time spent on answering between two moments.
pub(crate) struct Spent {
    /// By the whole machine, without the load generator.
    pub(crate) machine: Duration,
    /// By the server process itself.
    pub(crate) process: Duration,
}

impl CpuTime {
    pub(crate) fn now(process: u32) -> Result<Self> {
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the system has no clock tick")?;
        let duration = |count: u64| Duration::from_secs_f64(count as f64 / ticks as f64);
        let machine = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        // Has nanosecond resolution and includes exited threads; /proc counts ticks of 10 ms.
        let clock = clock_getcpuclockid(Pid::from_raw(process.try_into()?))
            .context("the measured process has exited")?;
        let mut own = Duration::ZERO;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            for time in [usage.user_time(), usage.system_time()] {
                own += Duration::new(time.tv_sec().try_into()?, 0)
                    + Duration::from_micros(time.tv_usec().try_into()?);
            }
        }
        Ok(Self {
            machine: duration(busy_ticks(&machine).context("/proc/stat has no line `cpu`")?),
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

/// Adds up `cpu  user nice system idle iowait irq softirq steal guest guest_nice` without idle,
/// iowait and steal. guest is part of user.
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
    fn busy_ticks_exclude_idle_iowait_and_steal() {
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
