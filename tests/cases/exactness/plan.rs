//! How long and with what a run goes on.

use std::env;
use std::fmt::Display;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// How long old answers may be served, in a run with a policy that allows it. It takes a part of that until
/// a change is applied.
const OLD_ALLOWED: Duration = Duration::from_secs(2);

/// The least answers of the short form, if the shared tier is disturbed. That takes its time.
const DISTURBED_ANSWERS: u64 = 1_500;

/// What the shared tier of a run is. A Redis is disturbed all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    Disk,
    /// One server, behind a proxy.
    Redis,
    /// A primary and a replica, with Sentinels.
    Sentinels,
    Cluster,
}

/// How long and with what a run goes on.
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The least answers.
    pub(super) answers: u64,
    /// The least time of load; zero in the short form.
    pub(super) load: Duration,
    /// Whether there is a memory tier. Otherwise each hit is one of the shared tier.
    pub(super) in_memory: bool,
    /// How long the policy allows answers to be served after a change. Unless this is zero, it also allows
    /// those that expired, and they do so soon.
    pub(super) old_allowed: Duration,
    pub(super) backend: Backend,
}

impl Plan {
    /// The short form, unless the environment asks for more: `WEIR_EXACTNESS_SECONDS` of load and
    /// `WEIR_EXACTNESS_ANSWERS`. `WEIR_EXACTNESS_SEED` repeats the choices of a run.
    pub(super) fn from_environment() -> Self {
        let short = Self::short();
        Self {
            answers: variable("WEIR_EXACTNESS_ANSWERS").unwrap_or(short.answers),
            load: variable("WEIR_EXACTNESS_SECONDS").map_or(short.load, Duration::from_secs),
            ..short
        }
    }

    /// The short form.
    pub(super) fn short() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = variable("WEIR_EXACTNESS_SEED").unwrap_or(now.as_millis() as u64);
        Self {
            seed,
            answers: 3_000,
            load: Duration::ZERO,
            in_memory: true,
            old_allowed: Duration::ZERO,
            backend: Backend::Disk,
        }
    }

    /// The same without a memory tier.
    pub(super) fn without_memory(self) -> Self {
        Self { in_memory: false, ..self }
    }

    /// The same with a policy that allows old answers.
    pub(super) fn allowing_old(self) -> Self {
        Self { old_allowed: OLD_ALLOWED, ..self }
    }

    /// The same with a shared tier that is disturbed.
    pub(super) fn disturbing(self, backend: Backend) -> Self {
        let answers = if self.is_long() { self.answers } else { DISTURBED_ANSWERS };
        Self { backend, answers, ..self }
    }

    pub(super) fn is_long(&self) -> bool {
        !self.load.is_zero()
    }

    pub(super) fn is_disturbed(&self) -> bool {
        self.backend != Backend::Disk
    }
}

fn variable<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} = {text}: {error}")))
}
