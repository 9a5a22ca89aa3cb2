//! The model: chosen, changed by a commit, and what each collection's log says of it.

use super::*;
use crate::Model;

impl Fixture {
    async fn change_model(&self, digest: &str) -> u64 {
        position(self.truth.change_model(digest).await.unwrap())
    }

    async fn model(&self) -> Option<(String, u64)> {
        let model = self.truth.model().await.unwrap();
        model.map(|Model { digest, since }| (digest, since.0))
    }
}

#[tokio::test]
async fn a_change_of_the_model_is_a_commit_but_the_first_is_not() {
    let f = Fixture::new().await;
    assert_eq!(f.model().await, None);
    assert_eq!(f.change_model("m1").await, 1);
    assert_eq!(f.model().await, Some(("m1".into(), 0)));
    f.put_one("a", "text").await;
    assert_eq!(f.change_model("m1").await, 2);

    assert_eq!(f.change_model("m2").await, 3);
    assert_eq!(f.model().await, Some(("m2".into(), 3)));
    assert_eq!(f.change_model("m2").await, 3);
    assert_eq!(f.log(2, 10).await, ["3 model"]);
    f.put_one("b", "text").await;
    assert_eq!(f.change_model("m1").await, 5);

    let truth = SqliteTruth::open(f.folder.path(), LIMITS).await.unwrap();
    let model = truth.model().await.unwrap().unwrap();
    assert_eq!((model.digest.as_str(), model.since.0), ("m1", 5));
}

#[tokio::test]
async fn every_collection_that_exists_has_a_line_and_an_epoch() {
    let f = Fixture::new().await;
    let (other, dropped) = (name("other"), name("dropped"));
    for collection in [&other, &dropped] {
        f.truth.create_collection(collection).await.unwrap();
    }
    f.truth.drop_collection(&dropped).await.unwrap();
    f.change_model("m1").await;
    assert_eq!(f.change_model("m2").await, 5);
    for (collection, lines) in [(&f.docs, 1), (&other, 1), (&dropped, 0)] {
        let log = f.truth.log(collection, Position(4), 10).await.unwrap();
        assert_eq!(log.len(), lines, "{collection}");
        assert!(log.iter().all(|line| line.kind == ChangeKind::ModelChanged));
    }
    let news = f.truth.news(Position(4)).await.unwrap();
    assert_eq!(news.collections, [(f.docs.clone(), Position(5)), (other.clone(), Position(5))]);
    // Nothing can compute the new epoch's statistics from a later state.
    assert_eq!(f.trim(5).await, 4);
    f.keep(5).await;
    assert_eq!(f.trim(5).await, 4);
    let statistics = KeptStatistics { epoch: Position(5), encoded: vec![1] };
    f.truth.keep_statistics(&other, statistics).await.unwrap();
    assert_eq!(f.trim(5).await, 5);
}

#[tokio::test]
async fn a_change_without_collections_is_a_commit_too() {
    let f = Fixture::new().await;
    f.truth.drop_collection(&f.docs).await.unwrap();
    f.change_model("m1").await;
    assert_eq!(f.change_model("m2").await, 3);
    assert_eq!(*f.truth.committed().borrow(), f.truth.head().await.unwrap());
    let news = f.truth.news(Position(2)).await.unwrap();
    assert_eq!((news.head.position, news.collections), (Position(3), Vec::new()));
}

#[tokio::test]
async fn a_version_says_which_model_split_it() {
    let f = Fixture::new().await;
    f.change_model("m0").await;
    f.put(vec![document("a", "text"), NewDocument { split_by: "m2".into(), ..document("b", "x") }])
        .await
        .unwrap();
    let split_by = async |id| {
        let read = f.truth.document(&f.docs, &doc(id)).await.unwrap().0.unwrap();
        let at = f.truth.documents_at(&f.docs, &[doc(id)], Position(2)).await.unwrap();
        assert_eq!(at.as_slice(), std::slice::from_ref(&read));
        read.split_by.to_string()
    };
    assert_eq!([split_by("a").await, split_by("b").await], ["m1", "m2"]);
    let scanned = f.truth.scan(&f.docs, Position(2), None, 10).await.unwrap().unwrap();
    assert!(scanned.iter().map(|document| &*document.split_by).eq(["m1", "m2"]));
    // The same chunks are no change, whoever made them.
    let again = NewDocument { split_by: "m3".into(), ..document("a", "text") };
    assert_eq!(position(f.put(vec![again]).await.unwrap().commit), 2);
}
