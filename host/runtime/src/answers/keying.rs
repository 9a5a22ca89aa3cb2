//! The key of a request: what the plan names and, if the policy says more, what its component adds.
//!
//! Out of scope: what is found under it (`answers`).

use std::sync::Arc;

use tracing::warn;
use weir_cache::CacheKey;
use weir_cache::key::KeyBuilder;

use crate::deploy::Deployment;
use crate::engine::slots::NoSlot;
use crate::policy::{Keying, Policy};
use crate::request::Source;

/// The key of a request; `None` if the policy bypasses the cache or failed.
pub(super) async fn key(
    deployment: &Deployment,
    policy: &Arc<Policy>,
    source: &Source<'_>,
) -> Result<Option<CacheKey>, NoSlot> {
    let mut key = KeyBuilder::new(&deployment.key_prefix);
    policy.plan.hash(source, &mut key);
    if policy.has_keying() {
        // Apart from the future of a key that the plan makes alone.
        return Box::pin(key_by_component(key, deployment, policy, source)).await;
    }
    Ok(Some(key.finish()))
}

/// The key with the parts that the policy's component adds to it.
async fn key_by_component(
    mut key: KeyBuilder,
    deployment: &Deployment,
    policy: &Arc<Policy>,
    source: &Source<'_>,
) -> Result<Option<CacheKey>, NoSlot> {
    let view = policy.view(&deployment.tenant().name, deployment.name(), source);
    match policy.key(&deployment.runner.guests, view).await? {
        Ok(Keying::Parts(parts)) => {
            for part in parts {
                key.part(part.as_bytes());
            }
            Ok(Some(key.finish()))
        }
        Ok(Keying::Bypass(_)) => Ok(None),
        Err(error) => {
            let (policy, request_id) = (policy.name.as_str(), source.id.as_str());
            // The error is last, because it may have lines of its own.
            warn!(policy, request_id, %error, "bypassing the cache");
            Ok(None)
        }
    }
}
