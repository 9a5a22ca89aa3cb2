//! The counter of revisions.

use super::*;

const A: [u8; 32] = [1; 32];
const B: [u8; 32] = [2; 32];

#[tokio::test]
async fn a_revision_grows_exactly_when_what_is_in_service_changes() {
    let mut f = Fixture::new().await;
    for (fingerprint, expected) in [(A, 1), (A, 1), (B, 2), (B, 2), (A, 3)] {
        assert_eq!(f.store.revision_of(fingerprint).await.unwrap(), expected);
        // Revisions outlive the process.
        f.reopen().await;
    }
}

#[tokio::test]
async fn deployments_and_removals_take_the_next_of_the_same_counter() {
    let mut f = Fixture::new().await;
    assert_eq!(f.store.revision_of(A).await.unwrap(), 1);
    assert_eq!(f.deploy("1", Expected::Any).await.unwrap(), 2);
    f.reopen().await;
    assert_eq!(f.undeploy(Expected::Any).await.unwrap(), Some(3));
    let policy = f.store.deploy(Role::Policy, &f.search, "2", Expected::Any, "alice").await;
    assert_eq!(policy.unwrap(), 4);
    assert_eq!(f.store.revision_of(B).await.unwrap(), 5);
    assert_eq!(f.deployed().await.1, 5);
}

/// Otherwise two states could have one revision: that with the fingerprint and that of the
/// deployment.
#[tokio::test]
async fn what_was_deployed_has_no_known_fingerprint() {
    let f = Fixture::new().await;
    assert_eq!(f.store.revision_of(A).await.unwrap(), 1);
    assert_eq!(f.deploy("1", Expected::Any).await.unwrap(), 2);
    assert_eq!(f.store.revision_of(A).await.unwrap(), 3);
    assert_eq!(f.store.revision_of(A).await.unwrap(), 3);
}

#[tokio::test]
async fn a_restart_with_what_was_published_has_its_revision() {
    let mut f = Fixture::new().await;
    let revision = f.deploy("1", Expected::Any).await.unwrap();
    assert!(f.store.published(revision, A).await.unwrap());
    f.reopen().await;
    assert_eq!(f.store.revision_of(A).await.unwrap(), revision);
    assert_eq!(f.store.revision_of(B).await.unwrap(), revision + 1);
}

#[tokio::test]
async fn what_is_published_late_says_nothing_about_a_later_revision() {
    let f = Fixture::new().await;
    let first = f.deploy("1", Expected::Any).await.unwrap();
    let second = f.deploy("2", Expected::Any).await.unwrap();
    assert!(!f.store.published(first, A).await.unwrap());
    assert!(!f.store.published(second + 1, A).await.unwrap());
    assert_eq!(f.store.revision_of(A).await.unwrap(), second + 1);
}

/// A refused or unneeded change takes no revision.
#[tokio::test]
async fn what_changes_nothing_leaves_the_counter_alone() {
    let f = Fixture::new().await;
    let revision = f.deploy("1", Expected::Any).await.unwrap();
    assert!(f.store.published(revision, A).await.unwrap());
    conflict(f.deploy("2", Expected::Absent).await);
    conflict(f.undeploy(Expected::Revision(revision + 1)).await);
    let other = f.store.undeploy(Role::Policy, &f.search, Expected::Any, "alice").await;
    assert_eq!(other.unwrap(), None);
    assert_eq!(f.store.revision_of(A).await.unwrap(), revision);
}
