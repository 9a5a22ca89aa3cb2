//! Documents that are set aside: marked, listed, tried again and forgotten.

use super::*;
use crate::{Document, SetAsides};

impl Fixture {
    async fn set_aside(&self, id: &str, version: u64) -> u64 {
        let marked = self.truth.set_aside(&self.docs, &doc(id), Position(version), "why").await;
        position(marked.unwrap())
    }

    async fn aside(&self) -> Vec<String> {
        listed(&self.truth.documents_set_aside(20).await.unwrap())
    }

    async fn read(&self, id: &str) -> Document {
        self.truth.document(&self.docs, &doc(id)).await.unwrap().0.unwrap()
    }
}

fn listed(all: &SetAsides) -> Vec<String> {
    assert_eq!(all.documents, all.first.len() as u64);
    let line = |one: &crate::SetAside| {
        format!("{}/{} {}: {}", one.collection, one.id, one.version, one.reason)
    };
    all.first.iter().map(line).collect()
}

#[tokio::test]
async fn a_mark_is_a_commit_that_changes_only_the_mark() {
    let f = Fixture::new().await;
    f.put_one("a", "text").await;
    f.put_one("b", "text").await;
    let before = f.read("a").await;
    assert_eq!(before.set_aside, None);
    assert_eq!(f.set_aside("a", 2).await, 4);
    let after = f.read("a").await;
    assert_eq!(after, Document { set_aside: Some("why".into()), ..before });
    assert_eq!(f.log(3, 10).await, ["4 +a"]);
    let news = f.truth.news(Position(3)).await.unwrap();
    assert_eq!(news.collections, [(f.docs.clone(), Position(4))]);
    // It is part of the version, at all of its positions.
    for at in [2, 3, 4].map(Position) {
        let read = f.truth.documents_at(&f.docs, &[doc("a")], at).await.unwrap();
        assert_eq!((read.len(), &read[0]), (1, &after));
        let page = f.truth.scan(&f.docs, at, None, 1).await.unwrap().unwrap();
        assert_eq!((page.len(), &page[0]), (1, &after));
    }
    assert_eq!(f.aside().await, ["docs/a 2: why"]);

    assert_eq!(f.set_aside("a", 2).await, 4, "it is set aside already");
    for (id, version) in [("b", 2), ("never", 2), ("a", 3), ("a", 1)] {
        assert_eq!(f.set_aside(id, version).await, 4, "no version {version} of {id}");
    }
    let elsewhere = f.truth.set_aside(&name("other"), &doc("b"), Position(3), "why").await;
    assert_eq!(position(elsewhere.unwrap()), 4);
    assert_eq!(f.aside().await, ["docs/a 2: why"]);
}

#[tokio::test]
async fn what_is_set_aside_is_listed_by_collection_and_id() {
    let f = Fixture::new().await;
    f.truth.create_collection(&name("a-first")).await.unwrap();
    let two = vec![document("x", "text"), document("b", "text")];
    f.truth.put(&name("a-first"), two, None).await.unwrap();
    f.put_one("a", "text").await;
    f.set_aside("a", 4).await;
    for id in ["x", "b"] {
        f.truth.set_aside(&name("a-first"), &doc(id), Position(3), "why").await.unwrap();
    }
    let all = ["a-first/b 3: why", "a-first/x 3: why", "docs/a 4: why"];
    assert_eq!(f.aside().await, all);
    let first = f.truth.documents_set_aside(1).await.unwrap();
    assert_eq!((first.documents, first.first.len()), (3, 1));
    f.truth.drop_collection(&name("a-first")).await.unwrap();
    assert_eq!(f.aside().await, all[2..]);
}

#[tokio::test]
async fn writing_it_again_or_deleting_it_ends_it() {
    let f = Fixture::new().await;
    f.put_one("a", "text").await;
    f.set_aside("a", 2).await;
    assert_eq!(f.put_one("a", "text").await, Position(4), "the same content is a new version");
    assert_eq!(f.read("a").await.set_aside, None);
    assert_eq!(f.aside().await, [""; 0]);
    assert_eq!(f.put_one("a", "text").await, Position(4), "which is not set aside");
    // The mark stays with the old version.
    let old = f.truth.documents_at(&f.docs, &[doc("a")], Position(3)).await.unwrap();
    assert_eq!(old[0].set_aside.as_deref(), Some("why"));

    f.set_aside("a", 4).await;
    let deleted = f.truth.delete(&f.docs, vec![doc("a")]).await.unwrap();
    assert_eq!(deleted.map(position), Some(6));
    assert_eq!(f.aside().await, [""; 0]);
    assert_eq!(f.put_one("a", "text").await, Position(7));
    assert_eq!(f.aside().await, [""; 0]);
}

#[tokio::test]
async fn a_version_that_has_ended_is_marked_without_a_commit() {
    let f = Fixture::new().await;
    f.put_one("a", "old").await;
    f.put_one("a", "new").await;
    assert_eq!(f.set_aside("a", 2).await, 3);
    assert_eq!(f.aside().await, [""; 0]);
    let old = f.truth.documents_at(&f.docs, &[doc("a")], Position(2)).await.unwrap();
    assert_eq!(old[0].set_aside.as_deref(), Some("why"));
    // Nor is one whose collection is gone.
    f.truth.drop_collection(&f.docs).await.unwrap();
    assert_eq!(f.set_aside("a", 3).await, 4);
    f.truth.create_collection(&f.docs).await.unwrap();
    assert_eq!(f.log(4, 10).await, ["5 created"]);
}

#[tokio::test]
async fn marks_are_durable_and_are_trimmed_with_their_versions() {
    let f = Fixture::new().await;
    f.put_one("a", "text").await;
    f.set_aside("a", 2).await;
    let Fixture { truth, docs, folder } = f;
    let backlog = truth.backlog_bytes();
    drop(truth);
    let truth = SqliteTruth::open(folder.path(), LIMITS).await.unwrap();
    assert_eq!(truth.backlog_bytes(), backlog);
    let f = Fixture { truth, docs, folder };
    assert_eq!(f.aside().await, ["docs/a 2: why"]);
    f.keep(2).await;
    assert_eq!(f.trim(3).await, 3);
    assert_eq!(f.aside().await, ["docs/a 2: why"], "it is current");
    f.put_one("a", "text").await;
    f.keep(4).await;
    assert_eq!(f.trim(4).await, 4);
    let marks = "SELECT count(*) FROM documents WHERE set_aside IS NOT NULL";
    let marks: i64 = sqlx::query_scalar(marks).fetch_one(&f.truth.shared.readers).await.unwrap();
    assert_eq!(marks, 0);
    assert_eq!(f.set_aside("a", 2).await, 4, "that version is gone");
}

#[tokio::test]
async fn statistics_that_count_the_version_are_forgotten_unless_history_begins_with_them() {
    let f = Fixture::new().await;
    for text in ["1", "2", "3"] {
        f.put_one("a", text).await;
    }
    f.put_one("b", "text").await;
    for epoch in 2..=5 {
        f.keep(epoch).await;
    }
    assert_eq!(f.trim(3).await, 3);
    f.set_aside("a", 3).await;
    let mut kept = Vec::new();
    for at in 3..=5 {
        kept.push(f.truth.statistics_at(&f.docs, Position(at)).await.unwrap().is_some());
    }
    assert_eq!(kept, [true, false, false]);
}
