//! Reads what is kept of a pipeline's log, and then what comes.
//!
//! A [`Follower`] holds no lines: it knows which it has read, and takes a few at a time. What has left its ring in the
//! meantime is lost to it, and counted. So whoever reads slowly costs nobody anything.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use weir_core::name::Name;

use super::line::{Level, Line};
use super::ring::{MAX_LINES, Ring};
use super::{Lines, PipelineLog};

/// The most lines that a follower takes at once.
const BATCH_LINES: usize = 64;
/// After so many bytes, it takes no further line.
const BATCH_BYTES: usize = 32 << 10;
/// Of more bytes of kept lines, the latest are read.
const MAX_READ_BYTES: usize = 512 << 10;

/// Which lines are asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Those of this tenant; `None` for those of all.
    pub tenant: Option<Name>,
    /// Those that are at least so important.
    pub level: Level,
    /// Those after the one with this id. If there has been no such line yet, all.
    pub after: u64,
}

/// Reads lines as they come.
#[derive(Debug)]
pub struct Follower {
    log: Arc<PipelineLog>,
    asked: Asked,
    /// By tenant, the number of the next line to read.
    next: BTreeMap<Name, u64>,
}

/// What a follower has read.
#[derive(Debug)]
pub enum Heard {
    /// Lines that are asked for, and how many were lost before them.
    Lines {
        /// How many, however important they were.
        lost: u64,
        /// The lines, in order.
        lines: Vec<Arc<Line>>,
    },
    /// The pipeline is not in service any more, and its lines are gone.
    Ended,
}

impl PipelineLog {
    /// The latest lines that are kept, in order, and whoever reads those that come after them.
    #[must_use]
    pub fn read(self: &Arc<Self>, asked: Asked, lines: usize) -> (Vec<Arc<Line>>, Follower) {
        let kept = self.lines.lock();
        let after = if asked.after < kept.next_id { asked.after } else { 0 };
        let is_asked = |line: &&Arc<Line>| line.said.level >= asked.level && line.id > after;
        let wanted = lines.min(MAX_LINES);
        let rings: Vec<_> = kept.asked(asked.tenant.as_ref()).collect();
        let mut latest: Vec<_> = rings
            .iter()
            .flat_map(|(_, ring)| ring.newest_first().filter(is_asked).take(wanted))
            .map(Arc::clone)
            .collect();
        let next = rings.iter().map(|(tenant, ring)| ((*tenant).clone(), ring.next())).collect();
        drop(rings);
        drop(kept);
        latest.sort_unstable_by_key(|line| line.id);
        let mut bytes = 0;
        let fits = |line: &&Arc<Line>| {
            bytes += line.bytes();
            bytes <= MAX_READ_BYTES
        };
        let read = latest.iter().rev().take(wanted).take_while(fits).count();
        latest.drain(..latest.len() - read);
        (latest, Follower { log: Arc::clone(self), asked, next })
    }
}

impl Lines {
    /// The rings of a tenant, or of all.
    fn asked<'a>(
        &'a self,
        tenant: Option<&'a Name>,
    ) -> impl Iterator<Item = (&'a Name, &'a Ring)> + 'a {
        self.rings.iter().filter(move |(name, _)| tenant.is_none_or(|tenant| tenant == *name))
    }
}

impl Follower {
    /// Waits for the next lines, and takes a few of them. Dropping the future loses none.
    pub async fn next(&mut self) -> Heard {
        loop {
            let log = Arc::clone(&self.log);
            // Before it looks, so that it hears of what comes after that.
            let changed = pin!(log.changed.notified());
            while let Some(heard) = self.take() {
                match heard {
                    Heard::Lines { lost: 0, lines } if lines.is_empty() => {}
                    heard => return heard,
                }
            }
            changed.await;
        }
    }

    /// Takes a few lines, if there are any that it has not read. None of them may be important enough.
    fn take(&mut self) -> Option<Heard> {
        let kept = self.log.lines.lock();
        if kept.ended {
            return Some(Heard::Ended);
        }
        let (mut lost, mut unread) = (0, Vec::new());
        for (tenant, ring) in kept.asked(self.asked.tenant.as_ref()) {
            let next = self.next.get(tenant).copied().unwrap_or(0);
            let (gone, here) = ring.since(next);
            if gone > 0 {
                lost += gone;
                self.next.insert(tenant.clone(), next + gone);
            }
            unread.extend(here.take(BATCH_LINES).map(Arc::clone));
        }
        drop(kept);
        unread.sort_unstable_by_key(|line| line.id);
        let mut bytes = 0;
        let fits = |line: &Arc<Line>| {
            let before = bytes;
            bytes += line.bytes();
            before < BATCH_BYTES
        };
        let mut lines: Vec<_> = unread.into_iter().take(BATCH_LINES).take_while(fits).collect();
        for line in &lines {
            *self.next.entry(line.tenant.clone()).or_default() += 1;
        }
        if lost == 0 && lines.is_empty() {
            return None;
        }
        lines.retain(|line| line.said.level >= self.asked.level);
        Some(Heard::Lines { lost, lines })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::super::line::testing::said;
    use super::super::{Logs, MAX_RING_BYTES};
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Writes lines for tenants at levels.
    fn write(log: &Arc<PipelineLog>, lines: &[(&str, Level, &str)]) {
        for (tenant, level, message) in lines {
            log.writer(name(tenant), 1).write(said(*level, message));
        }
    }

    fn messages(lines: &[Arc<Line>]) -> Vec<&str> {
        lines.iter().map(|line| &*line.said.message).collect()
    }

    /// What a follower reads without waiting, and how many lines it has lost.
    fn read_all(follower: &mut Follower) -> (u64, Vec<String>) {
        let (mut lost, mut read) = (0, Vec::new());
        while let Some(Heard::Lines { lost: more, lines }) = follower.next().now_or_never() {
            lost += more;
            read.extend(messages(&lines).into_iter().map(ToOwned::to_owned));
        }
        (lost, read)
    }

    use Level::{Debug, Error, Info};

    #[test]
    fn the_latest_lines_that_are_asked_for_are_found_in_order() {
        let logs = Logs::default();
        let log = logs.begin(&name("p"));
        let lines = [
            ("acme", Info, "one"),
            ("globex", Error, "two"),
            ("acme", Debug, "three"),
            ("globex", Info, "four"),
            ("acme", Info, "five"),
        ];
        write(&log, &lines);
        let read = |tenant: Option<&str>, level: Level, after: u64, lines: usize| {
            let asked = Asked { tenant: tenant.map(name), level, after };
            log.read(asked, lines).0
        };
        let first = read(None, Level::Trace, 0, 10)[0].id;
        for (tenant, level, after, lines, expected) in [
            (None, Level::Trace, 0, 10, &["one", "two", "three", "four", "five"][..]),
            (None, Level::Trace, 0, 2, &["four", "five"]),
            (None, Info, 0, 3, &["two", "four", "five"]),
            (None, Error, 0, 3, &["two"]),
            (Some("acme"), Level::Trace, 0, 10, &["one", "three", "five"]),
            (Some("acme"), Info, 0, 1, &["five"]),
            (Some("initech"), Level::Trace, 0, 10, &[]),
            (None, Level::Trace, first, 10, &["two", "three", "four", "five"]),
            (None, Level::Trace, first + 4, 10, &[]),
            // Of another process, whose clock was ahead.
            (None, Level::Trace, first + 5, 1, &["five"]),
            (None, Level::Trace, 0, 0, &[]),
        ] {
            let found = read(tenant, level, after, lines);
            assert_eq!(messages(&found), expected, "{tenant:?} {level} {after} {lines}");
        }
    }

    #[test]
    fn a_follower_reads_what_comes_of_what_it_may_read() {
        let logs = Logs::default();
        let log = logs.begin(&name("p"));
        write(&log, &[("acme", Info, "before")]);
        let (_, mut all) = log.read(Asked::default(), 0);
        let of_acme = Asked { tenant: Some(name("acme")), level: Info, after: 0 };
        let (_, mut acme) = log.read(of_acme, 0);
        assert!(all.next().now_or_never().is_none());
        write(&log, &[("globex", Info, "one"), ("acme", Debug, "two"), ("acme", Info, "three")]);
        assert_eq!(read_all(&mut all), (0, ["one", "two", "three"].map(str::to_owned).to_vec()));
        assert_eq!(read_all(&mut acme), (0, ["three"].map(str::to_owned).to_vec()));
    }

    #[tokio::test]
    async fn a_follower_that_waits_hears_of_a_line_and_of_the_end() {
        let logs = Logs::default();
        let log = logs.begin(&name("p"));
        let (_, mut follower) = log.read(Asked::default(), 0);
        let (heard, ()) = tokio::join!(follower.next(), async {
            write(&log, &[("acme", Info, "one")]);
        });
        assert!(matches!(heard, Heard::Lines { lost: 0, lines } if messages(&lines) == ["one"]));
        let (heard, ()) = tokio::join!(follower.next(), async {
            logs.keep_only(&[].into());
        });
        assert!(matches!(heard, Heard::Ended));
    }

    #[test]
    fn whoever_reads_slowly_is_told_what_is_lost() {
        let logs = Logs::default();
        let log = logs.begin(&name("p"));
        let (_, mut follower) = log.read(Asked::default(), 0);
        for number in 0..3_000 {
            write(&log, &[("acme", Info, &number.to_string()), ("globex", Info, "beside")]);
        }
        let (lost, read) = read_all(&mut follower);
        assert_eq!(lost + read.len() as u64, 6_000);
        assert!(read.contains(&"2999".to_owned()) && !read.contains(&"0".to_owned()), "{lost}");
        assert!(read.iter().filter(|line| *line == "beside").count() > 100);
        write(&log, &[("acme", Info, "after")]);
        assert_eq!(read_all(&mut follower), (0, vec!["after".to_owned()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        #[test]
        fn each_line_is_read_once_in_order_or_counted_as_lost(
            // Who writes, how much, and whether the follower reads once then.
            steps in prop::collection::vec(
                (0_usize..3, 0_usize..40_000, prop::bool::weighted(0.1)),
                1..200,
            ),
        ) {
            let logs = Logs::default();
            let log = logs.begin(&name("p"));
            let (_, mut follower) = log.read(Asked::default(), 0);
            let (mut ids, mut lost) = (Vec::new(), 0);
            let mut read = |follower: &mut Follower| {
                let Some(Heard::Lines { lost: more, lines }) = follower.next().now_or_never() else {
                    return false;
                };
                let bytes: usize = lines.iter().map(|line| line.bytes()).sum();
                let largest = lines.iter().map(|line| line.bytes()).max().unwrap_or(0);
                assert!(lines.len() <= BATCH_LINES && bytes <= BATCH_BYTES + largest);
                ids.extend(lines.iter().map(|line| line.id));
                lost += more;
                true
            };
            for (tenant, bytes, reads) in &steps {
                let tenant = ["acme", "globex", "initech"][*tenant];
                write(&log, &[(tenant, Info, &"x".repeat(*bytes))]);
                if *reads {
                    read(&mut follower);
                }
            }
            while read(&mut follower) {}
            prop_assert!(ids.is_sorted_by(|one, other| one < other));
            prop_assert_eq!(ids.len() as u64 + lost, steps.len() as u64);
            let all: usize = steps.iter().map(|(_, bytes, _)| bytes + 600).sum();
            prop_assert!(all > MAX_RING_BYTES || lost == 0, "nothing is lost that there is room for");
        }
    }
}
