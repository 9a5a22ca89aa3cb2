//! A bound on requests in flight: those of the server, and those of a tenant.
//!
//! A request is in flight until its answer has been written. Out of scope: how many of them one
//! connection may have (`listener`), and how many run at once (`weir_runtime::engine`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Requests of which only so many are in flight.
#[derive(Debug)]
pub(crate) struct Requests {
    count: AtomicUsize,
    max: usize,
}

/// A request in flight, until this is dropped.
#[derive(Debug)]
#[must_use = "the request counts until it is dropped"]
pub struct InFlight(Arc<Requests>);

impl Requests {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { count: AtomicUsize::new(0), max })
    }

    /// `None` if there are as many as there may be.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<InFlight> {
        let begun = InFlight(Arc::clone(self));
        (self.count.fetch_add(1, Relaxed) < self.max).then_some(begun)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_requests_as_there_may_be() {
        let requests = Requests::new(2);
        let both = (requests.begin(), requests.begin());
        assert!(both.0.is_some() && both.1.is_some());
        assert!(requests.begin().is_none() && requests.begin().is_none());
        drop(both);
        assert!(requests.begin().is_some());
    }
}
