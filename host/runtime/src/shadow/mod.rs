//! Shadow: a candidate for a cache policy decides on live traffic, off the request path, and stores nothing. A report
//! says what it would have done.
//!
//! [`running`] takes requests that have ended from the request path, as [`event`]s in a [`queue`], and compares the
//! candidate with the policy that is deployed, on a thread of its own. Each of the two is a [`side`] with simulated
//! [`tiers`]; what they differ in is found by [`compare`], with [`keys`] and [`tags`], and is in a [`report`]. Nothing is
//! recorded: a restart ends all of it. Out of scope: loading a candidate, and who may (`deploy::registry`).

mod compare;
mod counts;
mod decides;
pub mod event;
mod keys;
mod queue;
pub mod report;
mod running;
mod side;
mod spread;
mod tags;
mod tiers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};
use weir_core::name::Name;

use crate::policy::Policy;

pub use self::counts::Cost;
pub use self::event::TierSize;
pub use self::keys::{Answers, Example, Keys, Part};
pub use self::running::Shadow;
pub use self::spread::Distribution;
pub use self::tags::Tags;

/// Whether a candidate is compared with the policy of a name.
#[derive(Default)]
pub struct Shadowing {
    is_on: AtomicBool,
    shadow: RwLock<Option<Arc<Shadow>>>,
}

/// Whether candidates are compared, by the names of policies.
#[derive(Default)]
pub struct Shadows(Mutex<BTreeMap<Name, Arc<Shadowing>>>);

impl Shadowing {
    /// Whether requests are to be told about.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// The candidate, also if it has ended.
    #[must_use]
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        self.shadow.read().clone()
    }

    /// Has another one, or none. Returns the one that there was.
    pub fn replace(&self, shadow: Option<Arc<Shadow>>) -> Option<Arc<Shadow>> {
        let mut current = self.shadow.write();
        self.is_on.store(shadow.is_some(), Relaxed);
        std::mem::replace(&mut current, shadow)
    }

    fn end(&self, reason: &'static str) {
        if let Some(shadow) = &*self.shadow.read() {
            self.is_on.store(false, Relaxed);
            shadow.end(reason);
        }
    }
}

impl Shadows {
    /// Whether a candidate is compared with this policy. Stays the same for a name.
    #[must_use]
    pub fn of(&self, policy: &Name) -> Arc<Shadowing> {
        Arc::clone(self.0.lock().entry(policy.clone()).or_default())
    }

    /// The candidate for this policy, also if it has ended.
    #[must_use]
    pub fn get(&self, policy: &Name) -> Option<Arc<Shadow>> {
        self.0.lock().get(policy)?.shadow()
    }

    /// The same, and there is none from now on.
    pub fn take(&self, policy: &Name) -> Option<Arc<Shadow>> {
        self.0.lock().get(policy)?.replace(None)
    }

    /// How many candidates are compared.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.lock().values().filter(|shadowing| shadowing.is_on()).count()
    }

    /// Ends those whose policy is not what `deployed` says of its name.
    pub fn only_beside(&self, deployed: impl Fn(&Name) -> Option<Arc<Policy>>) {
        self.0.lock().retain(|name, shadowing| {
            let Some(shadow) = shadowing.shadow() else {
                // Nobody asks any more.
                return Arc::strong_count(shadowing) > 1;
            };
            let is_beside = |policy| Arc::ptr_eq(&policy, shadow.deployed());
            if !deployed(name).is_some_and(is_beside) {
                shadowing.end("swapped");
            }
            true
        });
    }
}
