//! How the caches of tenants are used, as JSON: by operation, pipeline, policy and tier.
//!
//! Everything in it is as large as the configuration, whatever is asked for. Out of scope: what is counted
//! (`weir_runtime::deploy::tally`, `weir_embedding::cached`), and who may see it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use weir_cache::tier::Contents;
use weir_cache::usage::ByReason;
use weir_cache::usage::ages::Ages;
use weir_cache::usage::windows::{Share, Shares};
use weir_core::name::Name;
use weir_runtime::deploy::Deployment;
use weir_runtime::deploy::tally::{Counts, HITS_A_SAMPLE, HotKey};

use super::app::App;
use crate::identity::Member;

/// The most keys that are shown of a tenant, and looked at of a pipeline.
const MAX_HOTTEST: usize = 10;

/// Who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Viewer {
    /// A tenant, who sees nothing that it shares with others.
    Tenant,
    /// An administrator, who sees everything.
    Admin,
}

/// The use of the caches of these tenants.
pub(super) fn shown<'a>(
    app: &App,
    members: impl Iterator<Item = &'a std::sync::Arc<Member>>,
    viewer: Viewer,
) -> Value {
    let tenants: Vec<_> = members.map(|member| of_tenant(app, member, viewer)).collect();
    json!({
        "uptime_seconds": app.started.elapsed().as_secs(),
        "sampling": { "one_hit_in": HITS_A_SAMPLE },
        "tenants": tenants,
    })
}

fn of_tenant(app: &App, member: &Member, viewer: Viewer) -> Value {
    let name = &member.tenant.name;
    let mut shown = json!({
        "tenant": name.as_str(),
        "query": of_queries(app, member),
        "embedding": of_embeddings(app, name, viewer),
    });
    if let Some(Contents { entries, bytes }) = app.shared_tier.contents(name) {
        shown["on_disk"] = json!({ "entries": entries, "bytes": bytes });
    }
    shown
}

fn of_queries(app: &App, member: &Member) -> Value {
    let deployed = app.deployments.current();
    // First, because what is evicted by that is then not counted.
    let in_memory = member.answers.in_memory();
    let mut total = Used::default();
    let mut by_policy: BTreeMap<&str, Used> = BTreeMap::new();
    let (mut pipelines, mut hottest) = (Vec::new(), Vec::new());
    for deployment in deployed.of_tenant(&member.tenant.name) {
        let used = Used::of(deployment);
        total.add(&used);
        let policy = deployment.policy.as_ref().map(|policy| policy.name.as_str());
        if let Some(policy) = policy {
            by_policy.entry(policy).or_default().add(&used);
        }
        let mut shown = used.shown();
        shown.insert("pipeline".into(), deployment.name().as_str().into());
        shown.insert("policy".into(), policy.into());
        shown.insert("ages_of_hits".into(), ages(&deployment.tally.ages()));
        pipelines.push(Value::Object(shown));
        let hot = deployment.tally.hottest(MAX_HOTTEST);
        hottest.extend(hot.into_iter().map(|hot| (deployment.name(), hot)));
    }
    let policies = by_policy.into_iter().map(|(policy, used)| {
        let mut shown = used.shown();
        shown.insert("policy".into(), policy.into());
        Value::Object(shown)
    });
    let policies: Vec<_> = policies.collect();
    let mut shown = total.shown();
    shown.insert("pipelines".into(), pipelines.into());
    shown.insert("policies".into(), policies.into());
    shown.insert("tiers".into(), tiers(app, in_memory, &total.counts));
    shown.insert("hottest".into(), keys(hottest));
    Value::Object(shown)
}

/// What was counted for one deployment, or for several.
#[derive(Default)]
struct Used {
    counts: Counts,
    shares: Shares,
    entries: u64,
    bytes: u64,
}

impl Used {
    fn of(deployment: &Deployment) -> Self {
        let tally = &deployment.tally;
        let (entries, bytes) = tally.holding.held();
        Self { counts: tally.counts(), shares: tally.shares(), entries, bytes }
    }

    fn add(&mut self, other: &Self) {
        self.counts += &other.counts;
        self.shares += other.shares;
        self.entries += other.entries;
        self.bytes += other.bytes;
    }

    fn shown(&self) -> Map<String, Value> {
        let Counts { hits, shared_hits, collapsed, stale, misses, .. } = &self.counts;
        let Counts { not_stored, bypassed, failed, .. } = &self.counts;
        let shown = [
            ("requests", self.counts.requests().into()),
            ("hits", json!({ "memory": hits, "shared": shared_hits })),
            ("stale", json!(stale)),
            ("collapsed", (*collapsed).into()),
            ("misses", json!(misses)),
            ("not_stored", json!(not_stored)),
            ("bypassed", json!(bypassed)),
            ("failed", json!(failed)),
            ("in_memory", json!({ "entries": self.entries, "bytes": self.bytes })),
            ("hit_ratio", ratios(self.shares)),
        ];
        shown.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

fn ratios(shares: Shares) -> Value {
    let shown = |share: Share| json!({ "hits": share.hits, "lookups": share.lookups, "ratio": share.ratio() });
    json!({
        "last_minute": shown(shares.last_minute),
        "last_5_minutes": shown(shares.last_five_minutes),
        "last_hour": shown(shares.last_hour),
        "since_start": shown(shares.since_start),
    })
}

fn ages(ages: &Ages) -> Value {
    json!({ "sampled": ages.len(), "p50_ms": ages.percentile_ms(50), "p99_ms": ages.percentile_ms(99) })
}

fn keys(mut hottest: Vec<(&Name, HotKey)>) -> Value {
    hottest.sort_by_key(|(_, hot)| std::cmp::Reverse(hot.hits));
    let shown = hottest.iter().take(MAX_HOTTEST).map(|(pipeline, hot)| {
        json!({
            "pipeline": pipeline.as_str(),
            "key": hot.key.to_string(),
            "estimated_hits": hot.hits,
            "overestimated_by_at_most": hot.over,
        })
    });
    shown.collect()
}

fn tiers(app: &App, (entries, bytes): (u64, u64), counts: &Counts) -> Value {
    let mut tiers = vec![json!({
        "tier": "memory",
        "hits": counts.hits,
        "stale": total(&counts.stale),
        "misses": counts.memory_misses,
        "entries": entries,
        "bytes": bytes,
    })];
    if has_shared(app) {
        tiers.push(json!({
            "tier": "shared",
            "hits": counts.shared_lookup_hits,
            "misses": counts.shared_lookup_misses,
        }));
    }
    tiers.into()
}

fn of_embeddings(app: &App, tenant: &Name, viewer: Viewer) -> Value {
    let counts = app.vectors.counts(tenant);
    let mut memory = json!({
        "tier": "memory",
        "hits": counts.hits,
        "misses": counts.texts.saturating_sub(counts.hits),
    });
    let is_alone = app.tenants.iter().nth(1).is_none();
    let kept = app.models.all().filter_map(|model| {
        let kept = model.in_memory(tenant.as_str())?;
        let is_its_own = !kept.is_shared || is_alone || viewer == Viewer::Admin;
        is_its_own.then(|| {
            json!({
                "model": model.model(),
                "entries": kept.vectors,
                "bytes": kept.bytes,
                "shared_by_tenants": kept.is_shared && !is_alone,
            })
        })
    });
    memory["models"] = kept.collect();
    let mut tiers = vec![memory];
    if has_shared(app) {
        tiers.push(json!({
            "tier": "shared",
            "hits": counts.shared_hits,
            "misses": counts.shared_misses,
        }));
    }
    json!({
        "texts": counts.texts,
        "collapsed": counts.collapsed,
        "hit_ratio": ratios(counts.shares),
        "tiers": tiers,
    })
}

fn has_shared(app: &App) -> bool {
    app.shared_tier.worst_state().is_some()
}

fn total(by_reason: &ByReason) -> u64 {
    by_reason.values().sum()
}
