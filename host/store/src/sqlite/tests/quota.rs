//! Quotas: what a write may add, whatever else is being written, and what is always allowed.

use futures::future::join_all;

use super::*;
use crate::Quantity;

impl Fixture {
    async fn reopened(self, quota: Quota) -> Self {
        self.truth.close().await;
        let limits = Limits { quota, ..LIMITS };
        let truth = SqliteTruth::open(self.folder.path(), limits).await.unwrap();
        Self { truth, ..self }
    }

    /// Deletes documents, and fails if there were none.
    async fn delete(&self, ids: &[&str]) {
        let ids = ids.iter().map(|id| doc(id)).collect();
        assert!(self.truth.delete(&self.docs, ids).await.unwrap().is_some());
    }

    /// The documents of all collections, and their bytes.
    async fn usage(&self) -> (u64, u64) {
        let (collections, _) = self.truth.collections().await.unwrap();
        collections.iter().fold((0, 0), |sum, of| (sum.0 + of.documents, sum.1 + of.bytes))
    }
}

fn documents(limit: u64) -> Quota {
    Quota { max_documents: Some(limit), ..Quota::NONE }
}

fn bytes(limit: u64) -> Quota {
    Quota { max_bytes: Some(limit), ..Quota::NONE }
}

/// What was exceeded, what there would have been, and the limit.
fn exceeded<T: std::fmt::Debug>(done: Result<T, TruthError>) -> (Quantity, u64, u64) {
    match done {
        Err(TruthError::QuotaExceeded { of, wanted, limit }) => (of, wanted, limit),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn documents_are_limited_over_all_collections() {
    let f = Fixture::new().await.reopened(documents(3)).await;
    let other = name("other");
    f.truth.create_collection(&other).await.unwrap();
    f.put(vec![document("a", "1"), document("b", "1")]).await.unwrap();
    f.truth.put(&other, vec![document("a", "1")], None).await.unwrap();

    let before = f.position().await;
    let key = IdempotencyKey { key: "k".into(), fingerprint: [0; 32] };
    let replaced = f.put_under(&key, "2").await;
    assert_eq!(replaced.unwrap().commit.position.0, before + 1);
    let refused = f.put(vec![document("a", "3"), document("c", "1")]).await;
    assert_eq!(exceeded(refused), (Quantity::Documents, 4, 3));
    assert_eq!(f.text("a").await.as_deref(), Some("2"), "none of it is stored");
    assert_eq!(f.position().await, before + 1);
    assert_eq!(f.usage().await.0, 3);

    f.truth.drop_collection(&other).await.unwrap();
    f.put(vec![document("c", "1")]).await.unwrap();
    assert_eq!(exceeded(f.put(vec![document("d", "1")]).await), (Quantity::Documents, 4, 3));
    f.delete(&["a"]).await;
    f.put(vec![document("d", "1")]).await.unwrap();
}

#[tokio::test]
async fn the_bytes_of_texts_and_metadata_are_limited() {
    // Each document has the metadata `{}`.
    let f = Fixture::new().await.reopened(bytes(20)).await;
    f.put(vec![document("a", "12345678"), document("b", "12345678")]).await.unwrap();
    assert_eq!(f.usage().await, (2, 20));
    assert_eq!(exceeded(f.put(vec![document("c", "")]).await), (Quantity::Bytes, 22, 20));
    let longer = vec![document("a", "123456789")];
    assert_eq!(exceeded(f.put(longer).await), (Quantity::Bytes, 21, 20));
    f.put(vec![document("a", "1"), document("c", "12345")]).await.unwrap();
    assert_eq!(f.usage().await, (3, 20));
    let key = IdempotencyKey { key: "k".into(), fingerprint: [0; 32] };
    assert_eq!(exceeded(f.put_under(&key, "12").await), (Quantity::Bytes, 21, 20));
    f.delete(&["c"]).await;
    let committed = f.put_under(&key, "12").await.unwrap();
    assert!(!committed.replayed, "a refused request is not carried out");
}

#[tokio::test]
async fn a_tenant_that_has_more_than_it_may_can_have_less() {
    let f = Fixture::new().await;
    f.put(vec![document("a", "long text"), document("b", "long text")]).await.unwrap();
    f.put(vec![document("c", "long text"), document("d", "long text")]).await.unwrap();
    let quota = Quota { max_documents: Some(2), max_bytes: Some(12), max_collections: Some(0) };
    let f = f.reopened(quota).await;
    f.put_one("a", "long").await;
    f.put_one("a", "gnol").await;
    // More bytes in one, fewer altogether.
    f.put(vec![document("a", "longer"), document("b", "")]).await.unwrap();
    assert_eq!(f.usage().await, (4, 8 + 2 + 11 + 11));
    f.put(vec![document("a", "longer")]).await.unwrap();
    assert_eq!(exceeded(f.put(vec![document("a", "longest")]).await), (Quantity::Bytes, 33, 12));
    assert_eq!(exceeded(f.put(vec![document("e", "")]).await), (Quantity::Documents, 5, 2));
    assert!(f.truth.create_collection(&f.docs).await.unwrap().1.is_none(), "it exists");
    f.delete(&["c", "d"]).await;
    f.put_one("a", "longest!").await;
    assert_eq!(f.usage().await, (2, 12));
    f.truth.drop_collection(&f.docs).await.unwrap();
    let again = f.truth.create_collection(&f.docs).await;
    assert_eq!(exceeded(again), (Quantity::Collections, 1, 0));
}

#[tokio::test]
async fn collections_are_limited() {
    let quota = Quota { max_collections: Some(2), ..Quota::NONE };
    let f = Fixture::new().await.reopened(quota).await;
    f.truth.create_collection(&name("second")).await.unwrap();
    let refused = f.truth.create_collection(&name("third")).await;
    assert_eq!(exceeded(refused), (Quantity::Collections, 3, 2));
    assert_eq!(f.truth.collections().await.unwrap().0.len(), 2);
    f.truth.drop_collection(&f.docs).await.unwrap();
    f.truth.create_collection(&name("third")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_run_together_do_not_pass_a_limit_together() {
    let f = Fixture::new().await.reopened(documents(5)).await;
    let ids: Vec<_> = (0..16).map(|n| n.to_string()).collect();
    let written = join_all(ids.iter().map(|id| f.put(vec![document(id, "text")]))).await;
    let (stored, refused): (Vec<_>, Vec<_>) = written.into_iter().partition(Result::is_ok);
    assert_eq!((stored.len(), f.usage().await.0), (5, 5));
    for refused in refused {
        assert_eq!(exceeded(refused), (Quantity::Documents, 6, 5));
    }
}
