//! What was taken of a limited resource for a value, for as long as anything made from it lives.
//!
//! Whoever keeps the value, or something of its size that was made from it, keeps a clone. Out of
//! scope: what was taken, which only its owner knows.

use std::fmt;
use std::sync::Arc;

/// Something that was taken of a resource, such as a [`Share`](crate::shares::Share). It is given
/// back when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Charge(Option<Arc<dyn Send + Sync>>);

impl Charge {
    /// A charge for what is too small to be counted.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Gives `taken` back when the last clone is dropped.
    #[must_use]
    pub fn of(taken: impl Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(taken)))
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Charge" } else { "Charge(none)" })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;
    use crate::shares::Shares;

    #[test]
    fn a_charge_lasts_as_long_as_any_of_its_clones() {
        let shares = Shares::new(10, 1, 0);
        let charge = Charge::of(shares.try_take(&"a", 1, 4).unwrap());
        let follower = charge.clone();
        drop(charge);
        assert_eq!(shares.held(&"a"), 4);
        drop(follower);
        assert_eq!(shares.held(&"a"), 0);
    }
}
