//! The check of a tenant's quota, in the transaction of each write that adds something.
//!
//! Writes are one at a time, and what they check includes what they are about to commit: two that run
//! together cannot pass a limit together. A write that adds nothing of a kind is not held to that kind's
//! limit, so a tenant that has more than a lowered limit can still delete, and replace documents by
//! smaller ones.

use super::write::Write;
use crate::{Quantity, Quota, TruthError};

/// What a write leaves more of than there was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Growth {
    pub(super) documents: bool,
    pub(super) bytes: bool,
    pub(super) collections: bool,
}

/// Refuses a write that has added more than the tenant may have, after its last change.
pub(super) async fn check(write: &mut Write<'_>, growth: Growth) -> Result<(), TruthError> {
    let Quota { max_documents, max_bytes, max_collections } = *write.quota();
    let limits = [
        (Quantity::Documents, max_documents.filter(|_| growth.documents)),
        (Quantity::Bytes, max_bytes.filter(|_| growth.bytes)),
        (Quantity::Collections, max_collections.filter(|_| growth.collections)),
    ];
    if limits.iter().all(|(_, limit)| limit.is_none()) {
        return Ok(());
    }
    // Each collection counts its own, and there are not many.
    let (collections, documents, bytes): (u64, u64, u64) = sqlx::query_as(
        "SELECT count(*), ifnull(sum(documents), 0), ifnull(sum(charged), 0)
         FROM collections WHERE dropped IS NULL",
    )
    .fetch_one(write.connection())
    .await?;
    for (of, limit) in limits {
        let wanted = match of {
            Quantity::Documents => documents,
            Quantity::Bytes => bytes,
            Quantity::Collections => collections,
        };
        if let Some(limit) = limit
            && wanted > limit
        {
            return Err(TruthError::QuotaExceeded { of, wanted, limit });
        }
    }
    Ok(())
}
