//! History: chain values, what is known about positions, and copies that went other ways.

use super::*;
use crate::Past;

#[tokio::test]
async fn a_position_is_known_forgotten_or_yet_to_come() {
    let f = Fixture::new().await;
    let put = f.put(vec![document("a", "text")]).await.unwrap().commit;
    assert_eq!(f.truth.head().await.unwrap(), put);
    let history = async |at| f.truth.history(Position(at)).await.unwrap();
    assert_eq!(history(0).await, Past::Known(Commit::ZERO.chain));
    assert_eq!(history(2).await, Past::Known(put.chain));
    for at in [3, u64::MAX] {
        assert_eq!(history(at).await, Past::NotYet, "{at}");
    }
    sqlx::query("DELETE FROM commits WHERE position = 1")
        .execute(&f.truth.shared.writer)
        .await
        .unwrap();
    assert_eq!(history(1).await, Past::Forgotten);
}

#[tokio::test]
async fn a_commit_has_one_chain_value_everywhere() {
    let f = Fixture::new().await;
    let (made, _) = f.truth.create_collection(&f.docs).await.unwrap();
    let put = f.put(vec![document("a", "text")]).await.unwrap().commit;
    let again = f.put(vec![document("a", "text")]).await.unwrap().commit;
    assert_eq!(again, put, "nothing changed");
    let log = f.truth.log(&f.docs, Position::ZERO, 10).await.unwrap();
    let commits: Vec<_> = log.iter().map(|change| change.commit).collect();
    assert_eq!(commits, [made.created, put, put]);
    assert_eq!(*f.truth.committed().borrow(), put);
    assert_ne!(made.created.chain, put.chain);
}

#[tokio::test]
async fn a_restored_copy_is_told_apart_by_its_chain_values() {
    let f = Fixture::new().await;
    let common = f.truth.head().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("truth.sqlite");
    sqlx::query("VACUUM INTO ?")
        .bind(copy.to_str().unwrap())
        .execute(&f.truth.shared.writer)
        .await
        .unwrap();
    let restored = SqliteTruth::open(folder.path(), LIMITS).await.unwrap();
    let left = f.put(vec![document("a", "left")]).await.unwrap().commit;
    let put = restored.put(&f.docs, vec![document("a", "right")], None).await.unwrap();

    assert_eq!(restored.id(), f.truth.id());
    assert_eq!(restored.history(common.position).await.unwrap(), Past::Known(common.chain));
    assert_eq!(put.commit.position, left.position);
    assert_ne!(put.commit.chain, left.chain);
    assert_eq!(restored.history(left.position).await.unwrap(), Past::Known(put.commit.chain));

    let another = Fixture::new().await;
    assert_ne!(another.truth.id(), f.truth.id());
}
