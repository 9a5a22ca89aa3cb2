//! When everything changed last, also what is trimmed or dropped.

use super::*;
use crate::sqlite::last_changes::KEPT_DROPS;

impl Fixture {
    /// The last changes by name, and after which position all others have none.
    async fn last_changes(&self) -> (Vec<(String, u64)>, u64) {
        let changes = self.truth.last_changes().await.unwrap();
        let mut by_name: Vec<_> =
            changes.collections.iter().map(|(name, at)| (name.to_string(), at.0)).collect();
        by_name.sort();
        (by_name, changes.others.0)
    }
}

fn known(changes: &[(&str, u64)]) -> Vec<(String, u64)> {
    changes.iter().map(|(name, at)| ((*name).to_owned(), *at)).collect()
}

#[tokio::test]
async fn each_change_of_a_collection_is_its_last_one() {
    let f = Fixture::new().await;
    assert_eq!(f.last_changes().await, (known(&[("docs", 1)]), 0));
    f.put_one("a", "text").await;
    assert_eq!(f.last_changes().await, (known(&[("docs", 2)]), 0));
    f.truth.create_collection(&name("other")).await.unwrap();
    f.truth.delete(&f.docs, vec![doc("a")]).await.unwrap();
    assert_eq!(f.last_changes().await, (known(&[("docs", 4), ("other", 3)]), 0));
    f.truth.change_model("m1").await.unwrap();
    f.truth.change_model("m2").await.unwrap();
    assert_eq!(f.last_changes().await, (known(&[("docs", 5), ("other", 5)]), 5));
}

#[tokio::test]
async fn they_survive_trimming_dropping_and_a_restart() {
    let f = Fixture::new().await;
    f.put_one("a", "text").await;
    f.truth.drop_collection(&f.docs).await.unwrap();
    f.truth.create_collection(&name("other")).await.unwrap();
    let all = (known(&[("docs", 3), ("other", 4)]), 0);
    assert_eq!(f.last_changes().await, all);
    while f.trim(4).await < 4 {}
    assert_eq!(f.last_changes().await, all);
    let truth = SqliteTruth::open(f.folder.path(), LIMITS).await.unwrap();
    let f = Fixture { truth, ..f };
    assert_eq!(f.last_changes().await, all);
    // Created again, and dropped again.
    f.truth.create_collection(&f.docs).await.unwrap();
    assert_eq!(f.last_changes().await, (known(&[("docs", 5), ("other", 4)]), 0));
    f.truth.drop_collection(&f.docs).await.unwrap();
    assert_eq!(f.last_changes().await, (known(&[("docs", 6), ("other", 4)]), 0));
}

#[tokio::test]
async fn the_oldest_drops_are_forgotten_and_count_as_changes_of_everything() {
    let f = Fixture::new().await;
    // As if so many had been dropped before.
    let many = format!(
        "WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {KEPT_DROPS})
         INSERT INTO dropped (collection, last) SELECT 'dropped-' || n, n FROM n"
    );
    for statement in [
        many.as_str(),
        "INSERT INTO commits (position, chain, committed_ms) VALUES (1000000, 1, 0)",
        "UPDATE counter SET position = 1000000",
    ] {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&f.truth.shared.writer).await.unwrap();
    }
    f.truth.drop_collection(&f.docs).await.unwrap();
    let (known, others) = f.last_changes().await;
    assert_eq!((known.len() as i64, others), (KEPT_DROPS, 1));
    assert!(known.contains(&("docs".into(), 1_000_001)));
    assert!(!known.iter().any(|(name, _)| name == "dropped-1"));
    for collection in ["x", "y", "x"] {
        f.truth.create_collection(&name(collection)).await.unwrap();
        f.truth.drop_collection(&name(collection)).await.unwrap();
    }
    let (known, others) = f.last_changes().await;
    assert_eq!((known.len() as i64, others), (KEPT_DROPS, 3));
}

#[tokio::test]
async fn the_secret_is_random_and_stays() {
    let f = Fixture::new().await;
    let secret = f.truth.secret();
    assert_ne!(secret.0, Fixture::new().await.truth.secret().0);
    assert!(!format!("{secret:?}").contains(&secret.0[0].to_string()));
    let again = SqliteTruth::open(f.folder.path(), LIMITS).await.unwrap();
    assert_eq!(again.secret().0, secret.0);
}
