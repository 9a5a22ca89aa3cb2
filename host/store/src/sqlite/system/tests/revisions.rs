//! The counter of revisions.

use super::*;

#[tokio::test]
async fn deployments_and_removals_take_the_next_of_the_same_counter() {
    let mut f = Fixture::new().await;
    assert_eq!(f.deploy("1", Expected::Any).await.unwrap(), 1);
    // Revisions outlive the process.
    f.reopen().await;
    assert_eq!(f.undeploy(Expected::Any).await.unwrap(), Some(2));
    let policy = f.store.deploy(Role::Policy, &f.search, "2", Expected::Any, "alice").await;
    assert_eq!(policy.unwrap(), 3);
    assert_eq!(f.deployed().await.1, 3);
}

/// A refused or unneeded change takes no revision.
#[tokio::test]
async fn what_changes_nothing_leaves_the_counter_alone() {
    let f = Fixture::new().await;
    let revision = f.deploy("1", Expected::Any).await.unwrap();
    conflict(f.deploy("2", Expected::Absent).await);
    conflict(f.undeploy(Expected::Revision(revision + 1)).await);
    let other = f.store.undeploy(Role::Policy, &f.search, Expected::Any, "alice").await;
    assert_eq!(other.unwrap(), None);
    assert_eq!(f.deployed().await.1, revision);
}
