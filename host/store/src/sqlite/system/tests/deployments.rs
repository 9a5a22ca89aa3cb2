//! Deployments: what is expected, what is kept, and several at once.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::*;
use crate::sqlite::system::deployments::make_room;
use crate::system::{KEPT_HISTORY, MAX_SPEC_BYTES};

#[tokio::test]
async fn a_deployment_is_what_its_caller_expected_to_replace() {
    let f = Fixture::new().await;
    assert_eq!(conflict(f.deploy("0", Expected::Revision(1)).await), None);
    let first = f.deploy("1", Expected::Absent).await.unwrap();
    assert_eq!(conflict(f.deploy("2", Expected::Absent).await), Some(first));
    assert_eq!(conflict(f.deploy("2", Expected::Revision(first + 1)).await), Some(first));
    let second = f.deploy("2", Expected::Revision(first)).await.unwrap();
    assert_eq!(conflict(f.deploy("3", Expected::Revision(first)).await), Some(second));
    let third = f.deploy("3", Expected::Any).await.unwrap();
    assert_eq!(f.current().await, Some(("3".to_owned(), third)));
    assert_eq!(f.history(10).await, ["3 3", "2 2", "1 1"], "what was refused left nothing");
}

#[tokio::test]
async fn a_removal_is_of_what_its_caller_expected() {
    let f = Fixture::new().await;
    assert_eq!(f.undeploy(Expected::Any).await.unwrap(), None);
    assert_eq!(f.undeploy(Expected::Absent).await.unwrap(), None);
    assert_eq!(conflict(f.undeploy(Expected::Revision(1)).await), None);
    let first = f.deploy("1", Expected::Any).await.unwrap();
    assert_eq!(conflict(f.undeploy(Expected::Absent).await), Some(first));
    assert_eq!(conflict(f.undeploy(Expected::Revision(first + 1)).await), Some(first));
    assert_eq!(f.undeploy(Expected::Revision(first)).await.unwrap(), Some(first + 1));
    assert_eq!(f.current().await, None);
    // The removal's revision is nothing that is deployed.
    assert_eq!(conflict(f.deploy("2", Expected::Revision(first + 1)).await), None);
    assert_eq!(f.deploy("2", Expected::Absent).await.unwrap(), first + 2);
    assert_eq!(f.history(10).await, ["3 2", "2 removed", "1 1"]);
}

#[tokio::test]
async fn a_pipeline_and_a_policy_of_one_name_are_two_deployments() {
    let f = Fixture::new().await;
    for (role, text, spec) in [
        (Role::Policy, "search", "{}"),
        (Role::Pipeline, "search", "{\"a\":1}"),
        (Role::Pipeline, "ask", "[]"),
        (Role::Pipeline, "gone", "0"),
    ] {
        f.store.deploy(role, &name(text), spec, Expected::Absent, "alice").await.unwrap();
    }
    f.store.undeploy(Role::Pipeline, &name("gone"), Expected::Any, "alice").await.unwrap();
    let expected = ["pipeline ask 3 []", "pipeline search 2 {\"a\":1}", "policy search 1 {}"];
    assert_eq!(f.deployed().await, (expected.map(str::to_owned).to_vec(), 5));
}

#[tokio::test]
async fn who_deployed_and_when_is_kept_after_reopening() {
    let mut f = Fixture::new().await;
    f.deploy("1", Expected::Any).await.unwrap();
    f.undeploy(Expected::Any).await.unwrap();
    f.deploy("2", Expected::Any).await.unwrap();
    let before = f.store.history(Role::Pipeline, &f.search, 10).await.unwrap();
    let who: Vec<_> = before.iter().map(|entry| entry.by.as_str()).collect();
    assert_eq!(who, ["alice", "bob", "alice"]);
    assert!(before.iter().all(|entry| entry.unix_ms > 1_700_000_000_000), "{before:?}");
    f.reopen().await;
    assert_eq!(f.store.history(Role::Pipeline, &f.search, 10).await.unwrap(), before);
}

#[tokio::test]
async fn the_newest_entries_of_each_name_are_kept() {
    let f = Fixture::new().await;
    let ask = name("ask");
    f.store.deploy(Role::Pipeline, &ask, "old", Expected::Any, "alice").await.unwrap();
    for number in 0..KEPT_HISTORY + 5 {
        f.deploy(&number.to_string(), Expected::Any).await.unwrap();
    }
    let history = f.history(1_000).await;
    assert_eq!(history.len(), KEPT_HISTORY as usize);
    assert_eq!((&*history[0], &*history[99]), ("106 104", "7 5"));
    assert_eq!(f.history(2).await, ["106 104", "105 103"]);
    let stored: u32 = sqlx::query_scalar("SELECT count(*) FROM deployments WHERE name = 'search'")
        .fetch_one(&f.store.pool)
        .await
        .unwrap();
    assert_eq!(stored, KEPT_HISTORY, "what is not shown is not there");
    assert_eq!(f.store.history(Role::Pipeline, &ask, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_previous_deployment_is_the_newest_other_spec() {
    let f = Fixture::new().await;
    let previous = async || {
        let previous = f.store.previous(Role::Pipeline, &f.search).await.unwrap();
        previous.map(|deployment| (deployment.spec, deployment.revision))
    };
    let is = |spec: &str, revision| Some((spec.to_owned(), revision));
    assert_eq!(previous().await, None);
    f.deploy("a", Expected::Any).await.unwrap();
    f.deploy("a", Expected::Any).await.unwrap();
    assert_eq!(previous().await, None, "the same again is no change to go back from");
    f.deploy("b", Expected::Any).await.unwrap();
    assert_eq!(previous().await, is("a", 2));
    f.deploy("a", Expected::Any).await.unwrap();
    assert_eq!(previous().await, is("b", 3), "a rollback can be rolled back");
    f.undeploy(Expected::Any).await.unwrap();
    assert_eq!(previous().await, is("a", 4), "of a removal: what was removed");
}

#[tokio::test]
async fn a_spec_that_is_too_long_is_refused() {
    let f = Fixture::new().await;
    let longest = "1".repeat(MAX_SPEC_BYTES);
    f.deploy(&longest, Expected::Any).await.unwrap();
    let error = f.deploy(&format!("{longest}1"), Expected::Any).await.unwrap_err();
    assert!(matches!(error, SystemError::TooLong { .. }), "{error}");
    assert_eq!(f.current().await, Some((longest, 1)));
}

#[tokio::test]
async fn names_are_bounded_and_those_removed_first_are_forgotten_first() {
    const LIMIT: u32 = 3;
    let f = Fixture::new().await;
    let deploy = async |text: &str| {
        let place = (Role::Pipeline, name(text));
        let asked = place.clone();
        f.store
            .write(move |connection| {
                Box::pin(async move { make_room(connection, &asked, LIMIT).await })
            })
            .await?;
        f.store.deploy(place.0, &place.1, "{}", Expected::Any, "alice").await
    };
    for text in ["a", "b", "c", "c"] {
        deploy(text).await.unwrap();
    }
    let error = deploy("d").await.unwrap_err();
    assert!(matches!(error, SystemError::TooManyDeployments { limit: LIMIT }), "{error}");
    for text in ["b", "a"] {
        f.store.undeploy(Role::Pipeline, &name(text), Expected::Any, "alice").await.unwrap();
    }
    deploy("d").await.unwrap();
    assert!(f.store.history(Role::Pipeline, &name("b"), 1).await.unwrap().is_empty());
    deploy("a").await.unwrap();
    assert_eq!(f.store.history(Role::Pipeline, &name("a"), 9).await.unwrap().len(), 3);
    assert_eq!(f.deployed().await.0.len(), 3);
}

/// In each round, each of several expects what is deployed then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_that_replace_the_same_one_wins() {
    const ADMINS: u64 = 4;
    let f = Arc::new(Fixture::new().await);
    let barrier = Arc::new(Barrier::new(usize::try_from(ADMINS).unwrap()));
    let mut expected = Expected::Absent;
    for round in 0..25 {
        let admins = (0..ADMINS).map(|admin| {
            let (f, barrier) = (Arc::clone(&f), Arc::clone(&barrier));
            tokio::spawn(async move {
                let spec = format!("{round} {admin}");
                barrier.wait().await;
                // One of them removes what the others replace.
                let done = match (admin, expected) {
                    (0, Expected::Revision(_)) => f.undeploy(expected).await.map(Option::unwrap),
                    _ => f.deploy(&spec, expected).await,
                };
                (spec, done)
            })
        });
        let mut winners = Vec::new();
        let mut told = Vec::new();
        for ended in futures::future::join_all(admins).await {
            let (spec, done) = ended.unwrap();
            match done {
                Ok(revision) => winners.push((spec, revision)),
                lost => told.push(conflict(lost)),
            }
        }
        let [(spec, revision)] = &winners[..] else { panic!("{winners:?}") };
        let current = f.current().await;
        match &current {
            None => expected = Expected::Absent,
            Some((deployed, at)) => {
                assert_eq!((deployed, at), (spec, revision));
                expected = Expected::Revision(*revision);
            }
        }
        let current = current.map(|(_, revision)| revision);
        assert_eq!(told, vec![current; told.len()], "each loser is told who won");
        assert_eq!(told.len() as u64, ADMINS - 1);
    }
}

/// A caller that stops waiting has deployed or not, and the store works.
#[tokio::test]
async fn a_caller_that_goes_away_interrupts_nothing() {
    let f = Fixture::new().await;
    let mut deployment = Box::pin(f.deploy("1", Expected::Any));
    // The task of the write begins.
    assert!(futures::poll!(&mut deployment).is_pending());
    drop(deployment);
    assert_eq!(f.deploy("2", Expected::Any).await.unwrap(), 2, "the first has ended before");
    assert_eq!(f.history(10).await, ["2 2", "1 1"]);
}
