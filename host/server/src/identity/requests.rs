//! How many requests a tenant may send: each second, and until earlier ones are answered.
//!
//! A request that arrives beyond that is refused at once, before its body is read. Out of scope: what the
//! server as a whole takes (`http`, `listener`), and how what it takes is divided.

use std::sync::Arc;
use std::time::Instant;

use ::metrics::{Counter, counter};
use weir_core::name::Name;
use weir_limits::rate::Rate;

use super::config::Quota;
use crate::in_flight::{InFlight, Requests};

/// The limits on one tenant's requests, of which there is at least one.
#[derive(Debug)]
pub struct RequestLimits {
    rate: Option<Limit<Rate>>,
    in_flight: Option<Limit<Arc<Requests>>>,
}

#[derive(Debug)]
struct Limit<L> {
    limit: L,
    most: u64,
    refused: Counter,
}

/// Why a request is refused, with the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The tenant has sent so many requests in a second.
    TooFast(u64),
    /// The tenant has so many requests in flight.
    TooMany(u64),
}

impl RequestLimits {
    /// The limits that a quota sets; `None` if it sets none.
    #[must_use]
    pub fn of(tenant: &Name, quota: &Quota) -> Option<Self> {
        let refused = |limit: &'static str| {
            let tenant = tenant.as_str().to_owned();
            counter!("weir_tenant_requests_refused_total", "tenant" => tenant, "limit" => limit)
        };
        let rate = quota.max_requests_per_second.map(|most| Limit {
            limit: Rate::per_second(most),
            most: most.into(),
            refused: refused("rate"),
        });
        let in_flight = quota.max_concurrent_requests.map(|most| Limit {
            limit: Requests::new(most),
            most: most as u64,
            refused: refused("concurrency"),
        });
        (rate.is_some() || in_flight.is_some()).then_some(Self { rate, in_flight })
    }

    /// Begins a request. It is in flight until what is returned is dropped, if that is limited.
    ///
    /// # Errors
    /// There are too many.
    pub fn begin(&self) -> Result<Option<InFlight>, Refused> {
        self.begin_at(Instant::now)
    }

    fn begin_at(&self, now: impl FnOnce() -> Instant) -> Result<Option<InFlight>, Refused> {
        // First, so that a request which is refused for that leaves its part of the second to another.
        let in_flight = match &self.in_flight {
            None => None,
            Some(Limit { limit, most, refused }) => Some(limit.begin().ok_or_else(|| {
                refused.increment(1);
                Refused::TooMany(*most)
            })?),
        };
        match &self.rate {
            Some(Limit { limit, most, refused }) if !limit.take(now()) => {
                refused.increment(1);
                Err(Refused::TooFast(*most))
            }
            _ => Ok(in_flight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: Option<u32>, at_once: Option<usize>) -> Option<RequestLimits> {
        let quota = Quota {
            max_requests_per_second: per_second,
            max_concurrent_requests: at_once,
            ..Quota::default()
        };
        RequestLimits::of(&Name::new("acme").ok()?, &quota)
    }

    /// What became of so many requests at a time, of which those that began stay in flight.
    fn begin(limits: &RequestLimits, now: Instant, requests: usize) -> Vec<Option<Refused>> {
        let begun: Vec<_> = (0..requests).map(|_| limits.begin_at(|| now)).collect();
        begun.iter().map(|one| one.as_ref().err().copied()).collect()
    }

    #[test]
    fn what_is_not_set_is_not_limited() {
        let now = Instant::now();
        assert!(limits(None, None).is_none());
        let rate = limits(Some(2), None).map(|limits| begin(&limits, now, 3));
        assert_eq!(rate, Some(vec![None, None, Some(Refused::TooFast(2))]));
        let at_once = limits(None, Some(2)).map(|limits| begin(&limits, now, 3));
        assert_eq!(at_once, Some(vec![None, None, Some(Refused::TooMany(2))]));
    }

    #[test]
    fn a_refused_request_takes_nothing() -> Result<(), &'static str> {
        let limits = limits(Some(2), Some(1)).ok_or("there are limits")?;
        let now = Instant::now();
        let (too_many, too_fast) = (Some(Refused::TooMany(1)), Some(Refused::TooFast(2)));
        assert_eq!(begin(&limits, now, 3), [None, too_many, too_many]);
        assert_eq!(begin(&limits, now, 1), [None], "the two have not used the rate");
        assert_eq!(begin(&limits, now, 2), [too_fast, too_fast], "nor this one a place");
        Ok(())
    }
}
