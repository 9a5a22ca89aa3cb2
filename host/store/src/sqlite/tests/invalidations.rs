//! Invalidations: positions, what is heard of them, and how many are kept.

use super::*;
use crate::Invalidations;
use crate::sqlite::invalidations::KEPT;

impl Fixture {
    async fn invalidate(&self, what: &str, is_soft: bool) -> Position {
        self.truth.invalidate(what, is_soft).await.unwrap().position
    }

    /// What was invalidated after a position: `POSITION WHAT`, with a `~` for a soft one.
    async fn invalidated(&self, after: u64) -> Vec<String> {
        told(&self.truth.news(Position(after)).await.unwrap().invalidations)
    }
}

fn told(invalidations: &Invalidations) -> Vec<String> {
    let one = |of: &crate::Invalidation| {
        let soft = if of.is_soft { "~" } else { "" };
        format!("{} {soft}{}", of.position, of.what)
    };
    invalidations.kept.iter().map(one).collect()
}

#[tokio::test]
async fn each_is_a_commit_that_is_news() {
    let f = Fixture::new().await;
    assert_eq!(f.invalidate("a", false).await, Position(2));
    assert_eq!(f.invalidate("b", true).await, Position(3));
    assert_eq!(f.put_one("x", "text").await, Position(4));
    assert_eq!(f.invalidate("c", false).await, Position(5));
    assert_eq!(f.truth.committed().borrow().position, Position(5));
    assert_eq!(f.invalidated(1).await, ["2 a", "3 ~b", "5 c"]);
    assert_eq!(f.invalidated(3).await, ["5 c"]);
    assert_eq!(f.invalidated(5).await, [""; 0]);
    let news = f.truth.news(Position(1)).await.unwrap();
    assert!(news.invalidations.kept.iter().all(|one| one.committed_unix_ms.is_some()));
    assert_eq!(f.log(0, 10).await, ["1 created", "4 +x", "4 rolled"], "no collection has changed");
}

#[tokio::test]
async fn a_hard_one_replaces_the_earlier_ones_of_the_same() {
    let f = Fixture::new().await;
    for (what, is_soft) in [("a", true), ("a", true), ("b", true), ("a", false), ("a", true)] {
        f.invalidate(what, is_soft).await;
    }
    assert_eq!(f.invalidated(0).await, ["4 ~b", "5 a", "6 ~a"]);
}

#[tokio::test]
async fn they_survive_trimming_and_a_restart() {
    let f = Fixture::new().await;
    f.invalidate("a", false).await;
    f.put_one("x", "text").await;
    // Not further: the statistics of the roll are not kept.
    while f.trim(2).await < 2 {}
    let truth = SqliteTruth::open(f.folder.path(), LIMITS).await.unwrap();
    let last = truth.last_changes().await.unwrap();
    assert_eq!(told(&last.invalidations), ["2 a"]);
    assert_eq!(last.invalidations.before, Position::ZERO);
}

#[tokio::test]
async fn the_oldest_are_forgotten_and_count_as_invalidations_of_everything() {
    let f = Fixture::new().await;
    // As if so many had been committed before, at positions that are over.
    f.invalidate("first", false).await;
    let many = format!(
        "WITH RECURSIVE n (n) AS (VALUES (3) UNION ALL SELECT n + 1 FROM n WHERE n <= {KEPT})
         INSERT INTO invalidations (position, what, soft) SELECT n, 'w' || n, 0 FROM n"
    );
    for statement in [
        many.as_str(),
        "INSERT INTO commits (position, chain, committed_ms) VALUES (100000, 1, 1)",
        "UPDATE counter SET position = 100000",
    ] {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&f.truth.shared.writer).await.unwrap();
    }
    assert_eq!(f.truth.last_changes().await.unwrap().invalidations.kept.len(), KEPT as usize);
    f.invalidate("last", true).await;
    let invalidations = f.truth.last_changes().await.unwrap().invalidations;
    assert_eq!(invalidations.before, Position(2));
    assert_eq!(invalidations.kept.len(), KEPT as usize);
    assert_eq!(invalidations.kept[0].position, Position(3));
    assert_eq!(told(&invalidations).last().unwrap(), "100001 ~last");
}
