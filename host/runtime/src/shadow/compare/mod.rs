//! What is made of the requests that a shadow sees: what each of the two policies would have done, and in what that
//! differs.

use std::time::Duration;

use weir_cache::tag::Tag;

use super::decides::Decides;
use super::event::{Ended, Event, Nobody};
use super::keys::{self, Keys, Relation, Request};
use super::report::{Answered, Failure, Report, Requests, Simulated};
use super::side::{Decision, Side};
use super::tags::TagDifference;

/// What the simulated entries of one policy take at most, in bytes, about.
const MAX_SIMULATED_BYTES: u64 = 16 << 20;

/// Two policies that are compared.
pub(super) struct Comparison<D> {
    deployed: Side<D>,
    candidate: Side<D>,
    relation: Relation,
    tags: TagDifference,
    answered: Answered,
    other_answers: u64,
    seen: u64,
}

/// What a report says besides what was compared.
pub(super) struct About {
    pub(super) since_unix_ms: u64,
    pub(super) lasted: Duration,
    pub(super) ended: Option<&'static str>,
    pub(super) requests: u64,
    pub(super) dropped: u64,
    pub(super) waiting: u64,
    pub(super) not_asked: Vec<&'static str>,
}

impl<D: Decides> Comparison<D> {
    pub(super) fn new(deployed: D, candidate: D) -> Self {
        let coverage = deployed.plan().coverage.clone();
        Self {
            deployed: Side::new(deployed, &coverage, MAX_SIMULATED_BYTES),
            candidate: Side::new(candidate, &coverage, MAX_SIMULATED_BYTES),
            relation: Relation::default(),
            tags: TagDifference::default(),
            answered: Answered::default(),
            other_answers: 0,
            seen: 0,
        }
    }

    /// Has both decide about a request.
    pub(super) async fn take(&mut self, event: &Event) {
        self.seen += 1;
        self.count(event.ended);
        let nobody = Nobody::default();
        let source = event.request.source(&nobody);
        let deployed = self.deployed.decide(event, &source, |key| Some(*key)).await;
        let candidate = self.candidate.decide(event, &source, |_| deployed.key).await;
        self.compare_tags(event, &deployed, &candidate);
        let (Some(deployed_key), Some(candidate_key)) = (&deployed.key, &candidate.key) else {
            return;
        };
        // What was stale had changed, perhaps.
        let answer = event.answer.as_ref().filter(|_| event.ended != Ended::Stale);
        let is_another = candidate.found.is_some_and(|found| {
            let is_of_other = found.deployed_key.is_some_and(|key| key != *deployed_key);
            is_of_other && answer.is_some_and(|answer| answer.validator != found.validator)
        });
        if is_another {
            self.other_answers += self.candidate.tiers.each_stands_for();
        }
        let (of_deployed, of_candidate) =
            (self.deployed.policy.plan(), self.candidate.policy.plan());
        self.relation.note(&Request {
            deployed: deployed_key,
            candidate: candidate_key,
            answer: answer.and_then(|answer| Some((answer.validator, answer.as_of?.position))),
            finds_other_answer: is_another,
            parts: |is_deployed| match is_deployed {
                true => keys::parts(of_deployed.named_parts(&source), &deployed.added_parts),
                false => keys::parts(of_candidate.named_parts(&source), &candidate.added_parts),
            },
        });
    }

    /// Compares the tags of an answer that both policies have stored, or have found stored.
    fn compare_tags(&mut self, event: &Event, deployed: &Decision, candidate: &Decision) {
        let Some(by_candidate) = &candidate.tags else { return };
        let basis = event.answer.as_ref().and_then(|answer| answer.basis.as_ref());
        let in_entry = || {
            let basis = basis.filter(|basis| basis.is_entry)?;
            Some(basis.depends_on.added_tags())
        };
        let by_deployed: Option<&[Tag]> = deployed.tags.as_deref().or_else(in_entry);
        if let Some(by_deployed) = by_deployed {
            self.tags.note(by_deployed, by_candidate);
        }
    }

    fn count(&mut self, ended: Ended) {
        let answered = &mut self.answered;
        *match ended {
            Ended::Hit => &mut answered.hits,
            Ended::SharedHit => &mut answered.shared_hits,
            Ended::Stale => &mut answered.stale,
            Ended::Collapsed => &mut answered.collapsed,
            Ended::Ran => &mut answered.misses,
            Ended::Bypassed => &mut answered.bypassed,
            Ended::Failed => &mut answered.failed,
        } += 1;
    }

    pub(super) fn report(&self, about: About) -> Report {
        let About { since_unix_ms, lasted, ended, requests, dropped, waiting, not_asked } = about;
        let keys = self.relation.keys();
        let seen_share = match requests {
            0 => 1.0,
            _ => 1.0 - dropped as f64 / requests as f64,
        };
        Report {
            since_unix_ms,
            for_s: lasted.as_secs(),
            ended,
            requests: Requests { ended: requests, seen: self.seen, dropped, waiting, seen_share },
            estimated_because: self.estimated_because(dropped, &keys),
            answered: self.answered,
            deployed: simulated(&self.deployed),
            candidate: simulated(&self.candidate),
            keys,
            other_answers: self.other_answers,
            tags: self.tags.tags(),
            not_asked,
        }
    }

    fn estimated_because(&self, dropped: u64, keys: &Keys) -> Vec<&'static str> {
        let is_sampled = [&self.deployed, &self.candidate].map(|side| side.tiers.each_stands_for());
        let reasons = [
            (dropped > 0, "requests-dropped"),
            (is_sampled != [1, 1], "keys-sampled"),
            (keys.not_compared > 0, "too-many-keys"),
        ];
        reasons.into_iter().filter_map(|(is, reason)| is.then_some(reason)).collect()
    }
}

fn simulated<D>(side: &Side<D>) -> Simulated {
    let (counts, tiers) = (&side.counts, &side.tiers);
    let hits = counts.hits + counts.stale;
    let lookups = hits + counts.collapsed + counts.misses;
    let failure =
        |(&(hook, kind), (count, example)): (&(&'static str, &'static str), &(u64, String))| {
            Failure { hook, kind, count: *count, example: example.clone() }
        };
    Simulated {
        hit_ratio: (lookups > 0).then(|| hits as f64 / lookups as f64),
        lookups,
        hits,
        stale: counts.stale,
        collapsed: counts.collapsed,
        misses: counts.misses,
        bypassed: counts.bypassed,
        stored: counts.stored,
        not_stored: counts.not_stored.clone(),
        refused: counts.refused.clone(),
        ttl_ms: counts.ttl_ms(),
        failures: counts.failures.iter().map(failure).collect(),
        cost: counts.all_costs(),
        entries: tiers.held().0,
        one_key_in: tiers.each_stands_for(),
    }
}

#[cfg(test)]
mod tests;
