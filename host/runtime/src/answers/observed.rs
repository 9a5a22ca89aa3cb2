//! What a policy that is tried in shadow is told about a request that has ended. Out of scope: what is made of it
//! (`shadow`).

use std::sync::Arc;
use std::time::Instant;

use weir_cache::encoding::Portable as _;
use weir_cache::reads::Dependencies;
use weir_cache::tag::Reads;

use super::made::{Made, Origin};
use super::{Answers, Bypass, Failed, NotStored, Served, StoredAnswer, StoredEntry, Via};
use crate::deploy::Deployment;
use crate::request::Source;
use crate::shadow::event::{Answered, Basis, Ended, Event};
use crate::wishes::Wishes;

impl Answers {
    /// Tells the shadow of a deployment's policy how a request has ended that began at this time.
    #[cold]
    pub(super) fn observe(
        &self,
        deployment: &Deployment,
        source: &Source<'_>,
        wishes: Wishes,
        began: Instant,
        served: &Result<Served, Failed>,
    ) {
        let policy = deployment.policy.as_ref().filter(|_| !deployment.pipeline().writes);
        let (Some(policy), Some(shadow)) = (policy, deployment.shadowing.shadow()) else { return };
        let answer = served.as_ref().ok().map(answered);
        let bytes = answer.as_ref().map_or(0, Answered::bytes);
        let tenant = deployment.tenant();
        shadow.offer(policy, source, bytes, |request| Event {
            began,
            tenant: tenant.name.clone(),
            ended_answers: Arc::clone(&tenant.ended),
            pipeline: deployment.name().clone(),
            prefix: deployment.key_prefix.clone(),
            tier: self.memory_size,
            request,
            wishes,
            ended: ended(served),
            answer,
        });
    }
}

fn ended(served: &Result<Served, Failed>) -> Ended {
    match served {
        Err(_) => Ended::Failed,
        Ok(served) => match served.via {
            Via::Hit { .. } => Ended::Hit,
            Via::SharedHit { .. } => Ended::SharedHit,
            Via::Stale { .. } => Ended::Stale,
            Via::Collapsed => Ended::Collapsed,
            Via::Stored | Via::NotStored(_) => Ended::Ran,
            Via::Bypass(_) => Ended::Bypassed,
        },
    }
}

fn answered(served: &Served) -> Answered {
    let StoredAnswer { status, headers, body, .. } = &*served.answer;
    let header = |(name, value): &(http::HeaderName, http::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    Answered {
        status: status.as_u16(),
        headers: headers.iter().map(header).collect(),
        body_bytes: body.len() as u64,
        validator: served.answer.validator(),
        weight_bytes: served.answer.weight_bytes(),
        as_of: served.stated.at(),
        kept_apart: kept_apart(&served.via),
        basis: match &served.origin {
            Origin::Entry(entry) => Some(of_entry(entry)),
            Origin::Made(made) => Some(of_run(made)),
            Origin::Unknown => None,
        },
    }
}

/// Why no policy could have had it stored.
fn kept_apart(via: &Via) -> Option<&'static str> {
    match via {
        Via::NotStored(
            reason @ (NotStored::Asked
            | NotStored::Alone
            | NotStored::Degraded
            | NotStored::Split
            | NotStored::TooManyReads
            | NotStored::Changed),
        ) => Some(reason.as_str()),
        Via::Bypass(reason @ (Bypass::Writes | Bypass::NoPolicy)) => Some(reason.as_str()),
        _ => None,
    }
}

fn of_entry(entry: &StoredEntry) -> Basis {
    Basis {
        depends_on: entry.depends_on.clone(),
        cells: entry.reads.clone(),
        parts: entry.value.parts.clone(),
        degraded: false,
        compute: entry.compute,
        is_entry: true,
    }
}

fn of_run(made: &Made) -> Basis {
    let cells: Reads = made.cells.clone();
    Basis {
        depends_on: Dependencies::new(made.reads.clone(), Vec::new()),
        cells,
        parts: made.parts.clone(),
        degraded: made.degraded,
        compute: made.compute,
        is_entry: false,
    }
}

impl StoredAnswer {
    /// The strong validator as a number.
    fn validator(&self) -> u128 {
        let digits = self.etag.get(1..self.etag.len() - 1).and_then(|of| str::from_utf8(of).ok());
        // Hexadecimal in quotes is always a number.
        digits.and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or_default()
    }
}
