//! How long a tier keeps an answer, and what may be done with one that is old.
//!
//! Two clocks end an answer. Its ttl counts from when it was computed. The other counts from the first
//! change to something that it read, and runs only once there is such a change; that one has its own
//! permission, [`Lifetime::stale_after_change`], and the ttl has the two others.
//!
//! Out of scope: which entry is valid ([`entry`](crate::entry)), and who decides (a policy).

use std::time::Duration;

/// How long an answer is fresh, and what is allowed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How long it is fresh after it was computed.
    pub ttl: Duration,
    /// From this age on, a hit also has it computed again.
    pub refresh_after: Option<Duration>,
    /// β in percent: how eagerly it is computed again before it expires. 0 is not at all, 100 the optimum of
    /// the paper that [`Self::is_refresh_due`] names.
    pub early_refresh_percent: u16,
    /// How long after its ttl it may be served while it is computed again.
    pub stale_while_revalidate: Duration,
    /// How long after its ttl it may be served if it cannot be computed again.
    pub stale_if_error: Duration,
    /// How long after the first change to something that it read it may be served.
    pub stale_after_change: Duration,
}

impl Lifetime {
    /// No answer ends.
    pub const UNLIMITED: Self = Self {
        stale_while_revalidate: Duration::MAX,
        stale_if_error: Duration::MAX,
        stale_after_change: Duration::MAX,
        ..Self::of(Duration::MAX)
    };

    /// Fresh for `ttl`, and not served after that or after a change.
    #[must_use]
    pub const fn of(ttl: Duration) -> Self {
        Self {
            ttl,
            refresh_after: None,
            early_refresh_percent: 0,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            stale_after_change: Duration::ZERO,
        }
    }

    /// The same where it is within `limit`, and what that says elsewhere. How eagerly an answer is computed
    /// again before it expires stays as it is.
    #[must_use]
    pub fn within(&self, limit: &Self) -> Self {
        let refresh_after = match (self.refresh_after, limit.refresh_after) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Self {
            ttl: self.ttl.min(limit.ttl),
            refresh_after,
            early_refresh_percent: self.early_refresh_percent,
            stale_while_revalidate: self.stale_while_revalidate.min(limit.stale_while_revalidate),
            stale_if_error: self.stale_if_error.min(limit.stale_if_error),
            stale_after_change: self.stale_after_change.min(limit.stale_after_change),
        }
    }

    /// Whether an answer of this age may be served although it is old: its ttl has passed, by less than
    /// `overdue_allowed`, or something that it read has been different for `outdated_for`, or both. `false` if it
    /// is not old.
    #[must_use]
    pub fn allows_old(
        &self,
        age: Duration,
        overdue_allowed: Duration,
        outdated_for: Option<Duration>,
    ) -> bool {
        let has_expired = age >= self.ttl;
        if has_expired && age - self.ttl >= overdue_allowed {
            return false;
        }
        match outdated_for {
            Some(outdated_for) => outdated_for < self.stale_after_change,
            None => has_expired,
        }
    }

    /// How long after it was computed there is any use in keeping it.
    #[must_use]
    pub fn kept(&self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate.max(self.stale_if_error))
    }

    /// Whether a fresh answer of this age, which took `compute` to make, should be computed again.
    ///
    /// Either it has reached [`Self::refresh_after`], or it is chosen at random, the more likely the
    /// less is left of its ttl and the longer it took: `compute · β · −ln(random) ≥ what is left`, with
    /// `random` in (0, 1] and β as [`Self::early_refresh_percent`] in percent. Requests for one popular answer
    /// then rarely find it expired, and few of them compute it (XFetch: Vattani, Chierichetti and
    /// Lowenstein, "Optimal probabilistic cache stampede prevention", VLDB 2015, where β = 1 is optimal).
    pub fn is_refresh_due(
        &self,
        age: Duration,
        compute: Duration,
        random: impl FnOnce() -> f64,
    ) -> bool {
        if self.refresh_after.is_some_and(|after| age >= after) {
            return true;
        }
        if self.early_refresh_percent == 0 {
            return false;
        }
        let left = self.ttl.saturating_sub(age).as_secs_f64();
        let reach = compute.as_secs_f64() * f64::from(self.early_refresh_percent) / 100.0;
        // The logarithm of the least positive number that is drawn is above −40.
        left <= 40.0 * reach && left <= reach * -random().max(f64::MIN_POSITIVE).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_kept_for_as_long_as_it_may_be_served() {
        let fresh = Lifetime::of(s(10));
        let stale = |revalidate, error| Lifetime {
            stale_while_revalidate: s(revalidate),
            stale_if_error: s(error),
            stale_after_change: s(1_000),
            ..fresh
        };
        for (lifetime, kept) in
            [(fresh, 10), (stale(5, 0), 15), (stale(5, 7), 17), (stale(9, 7), 19)]
        {
            assert_eq!(lifetime.kept(), s(kept), "{lifetime:?}");
        }
        assert_eq!(Lifetime { ttl: Duration::MAX, ..stale(1, 1) }.kept(), Duration::MAX);
    }

    #[test]
    fn a_limit_shortens_each_part_and_lengthens_none() {
        let all = |seconds| Lifetime {
            ttl: s(seconds),
            refresh_after: Some(s(seconds)),
            early_refresh_percent: 50,
            stale_while_revalidate: s(seconds),
            stale_if_error: s(seconds),
            stale_after_change: s(seconds),
        };
        assert_eq!(all(9).within(&all(5)), all(5));
        assert_eq!(all(5).within(&all(9)), all(5));
        assert_eq!(all(5).within(&Lifetime::UNLIMITED), all(5));
        let unsaid = Lifetime { refresh_after: None, ..all(9) };
        assert_eq!(unsaid.within(&all(5)), all(5));
        for (part, limit) in [
            ("ttl", Lifetime { ttl: s(1), ..all(5) }),
            ("revalidate", Lifetime { stale_while_revalidate: s(1), ..all(5) }),
            ("error", Lifetime { stale_if_error: s(1), ..all(5) }),
            ("change", Lifetime { stale_after_change: s(1), ..all(5) }),
        ] {
            assert_eq!(all(5).within(&limit), limit, "{part}");
        }
    }

    #[test]
    fn an_old_answer_needs_a_permission_for_each_way_in_which_it_is_old() {
        let lifetime = Lifetime { stale_after_change: s(3), ..Lifetime::of(s(10)) };
        for (age, overdue_allowed, outdated_for, allowed) in [
            (9, 5, None, false),
            (10, 5, None, true),
            (10, 0, None, false),
            (14, 5, None, true),
            (15, 5, None, false),
            (9, 0, Some(2), true),
            (9, 0, Some(3), false),
            (12, 5, Some(2), true),
            (12, 2, Some(2), false),
            (12, 5, Some(3), false),
        ] {
            let is_allowed = lifetime.allows_old(s(age), s(overdue_allowed), outdated_for.map(s));
            assert_eq!(is_allowed, allowed, "{age} {overdue_allowed} {outdated_for:?}");
        }
    }

    #[test]
    fn a_refresh_is_due_from_an_age_on() {
        let lifetime = Lifetime { refresh_after: Some(s(5)), ..Lifetime::of(s(10)) };
        let random = || unreachable!("nothing is drawn");
        for (age, due) in [(4, false), (5, true), (9, true)] {
            assert_eq!(lifetime.is_refresh_due(s(age), s(1), random), due, "{age}");
        }
        assert!(!Lifetime::of(s(10)).is_refresh_due(s(9), s(60), random));
    }

    /// An answer that takes a second, with β = 1: with 2 s left, one draw in e² ≈ 7.4 is early enough.
    #[test]
    fn early_refreshes_become_likely_as_time_runs_out() {
        let lifetime =
            |percent| Lifetime { early_refresh_percent: percent, ..Lifetime::of(s(100)) };
        const DRAWS: u32 = 1_000;
        let share = |percent, age, compute| {
            let drawn = |n: &u32| {
                let random = || f64::from(*n) / f64::from(DRAWS);
                lifetime(percent).is_refresh_due(s(age), s(compute), random)
            };
            (1..=DRAWS).filter(drawn).count()
        };
        assert_eq!(share(100, 98, 1), 135);
        assert_eq!(share(100, 99, 1), 367);
        assert_eq!(share(200, 98, 1), 367);
        assert_eq!(share(100, 98, 2), 367);
        assert_eq!(share(100, 10, 1), 0);
        assert_eq!(share(0, 99, 1), 0);
        assert_eq!(share(100, 100, 1), DRAWS as usize, "nothing is left");
    }
}
