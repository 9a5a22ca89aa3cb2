//! Writes: all or nothing, in order, and not interrupted when the caller goes away.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::join_all;

use super::*;
use crate::sqlite::MAX_WRITES_WAITING;
use crate::sqlite::documents::MAX_DOCUMENTS_PER_WRITE;

#[tokio::test]
async fn a_refused_put_changes_nothing() {
    let f = Fixture::new().await;
    let good = || document("good", "text");
    let half_a_character = NewDocument { chunks: vec![0..1, 0..2], ..document("bad", "ü") };
    let past_the_end = NewDocument { chunks: vec![0..4, 0..5], ..document("bad", "text") };
    let no_object = NewDocument { metadata: "[]".into(), ..document("bad", "text") };
    let no_number = NewDocument { metadata: r#"{"n":1e999}"#.into(), ..document("bad", "text") };
    let twice = document("good", "other text");
    let cases = [
        (half_a_character, "its text has no chunk at bytes 0..1"),
        (past_the_end, "its text has no chunk at bytes 0..5"),
        (no_object, "not a JSON object"),
        (no_number, "not a JSON object"),
        (twice, "the document 'good' is given twice"),
    ];
    for (bad, message) in cases {
        let error = f.put(vec![good(), bad]).await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let many = (0..=MAX_DOCUMENTS_PER_WRITE).map(|i| document(&i.to_string(), "")).collect();
    assert!(matches!(f.put(many).await, Err(TruthError::TooManyDocuments { limit: 10_000 })));
    let unknown = f.truth.put(&name("other"), vec![good()], None).await;
    assert!(matches!(unknown, Err(TruthError::UnknownCollection(_))));

    assert_eq!(f.text("good").await, None);
    assert_eq!(f.position().await, 1);
}

#[tokio::test]
async fn a_write_that_fails_in_the_middle_changes_nothing() {
    let f = Fixture::new().await;
    let result: Result<(), _> = f
        .truth
        .write(|write| {
            Box::pin(async {
                sqlx::query("DELETE FROM collections").execute(write.connection()).await?;
                write.supersede(1_000);
                write.changed(&name("docs"), &ChangeKind::CollectionDeleted).await?;
                Err(TruthError::Cut("in the middle".into()))
            })
        })
        .await;
    assert!(result.is_err());
    assert!(f.truth.collection(&f.docs).await.unwrap().0.is_some());
    assert_eq!(f.log(0, 10).await, ["1 created"]);
    assert_eq!(f.truth.backlog_bytes(), 100);
    assert_eq!(f.put_one("a", "text").await, Position(2), "the connection is usable");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_commits_become_visible_in_the_order_of_their_positions() {
    const WRITERS: u64 = 16;
    const COMMITS: u64 = 8;
    const LAST: u64 = 1 + WRITERS * COMMITS;
    let f = Arc::new(Fixture::new().await);

    let writers = (0..WRITERS).map(|writer| {
        let f = Arc::clone(&f);
        tokio::spawn(async move {
            let mut positions = Vec::new();
            for commit in 0..COMMITS {
                positions.push(f.put_one(&format!("{writer}-{commit}"), "text").await.0);
            }
            positions
        })
    });
    let writers = join_all(writers);
    let reader = async {
        let mut committed = f.truth.committed();
        let mut seen = vec![1];
        while seen.last() != Some(&LAST) {
            let last = Position(*seen.last().unwrap());
            committed.wait_for(|commit| commit.position > last).await.unwrap();
            let changes = f.truth.log(&f.docs, last, 7).await.unwrap();
            seen.extend(changes.iter().map(|change| position(change.commit)));
            seen.dedup();
        }
        seen
    };
    let (writers, seen) = tokio::join!(writers, reader);

    assert_eq!(seen, (1..=LAST).collect::<Vec<_>>(), "a reader skips no commit");
    let mut all = Vec::new();
    for positions in writers {
        let positions = positions.unwrap();
        assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
        all.extend(positions);
    }
    all.sort_unstable();
    assert_eq!(all, (2..=LAST).collect::<Vec<_>>(), "each commit has its own position");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_replaced_as_a_whole() {
    let f = Arc::new(Fixture::new().await);
    let version = |n: u64| NewDocument {
        metadata: format!(r#"{{"n":{n}}}"#).into(),
        ..document("a", &"x".repeat(usize::try_from(n).unwrap()))
    };
    f.put(vec![version(2)]).await.unwrap();
    let writer = async {
        for n in 3..100 {
            assert_eq!(f.put(vec![version(n)]).await.unwrap().commit.position, Position(n));
        }
    };
    let reader = async {
        loop {
            let read = f.truth.document(&f.docs, &doc("a")).await.unwrap().0.unwrap();
            let n = read.version.0;
            assert_eq!(*read.metadata, *version(n).metadata);
            assert_eq!(read.text, version(n).text);
            assert_eq!(read.chunks, version(n).chunks);
            if n == 99 {
                break;
            }
        }
    };
    tokio::join!(writer, reader);
    assert_eq!(f.truth.collection(&f.docs).await.unwrap().0.unwrap().documents, 1);
}

#[tokio::test]
async fn putting_an_unchanged_document_again_is_not_a_change() {
    let f = Fixture::new().await;
    f.put(vec![document("a", "text"), document("b", "text")]).await.unwrap();
    let changed = [
        NewDocument { metadata: r#"{"x":1}"#.into(), ..document("a", "text") },
        NewDocument { chunks: vec![0..2, 2..4], ..document("a", "text") },
        document("a", "other text"),
    ];
    assert_eq!(f.put_one("a", "text").await, Position(2), "nothing changed");
    for (document, position) in changed.into_iter().zip(3..) {
        let both = vec![document.clone(), super::document("b", "text")];
        assert_eq!(f.put(both).await.unwrap().commit.position, Position(position), "{document:?}");
    }
    let log = f.log(0, 20).await;
    let log: Vec<_> = log.iter().filter(|line| !line.ends_with("rolled")).collect();
    assert_eq!(log, ["1 created", "2 +a", "2 +b", "3 +a", "4 +a", "5 +a"]);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_interrupt_the_write() {
    let f = Fixture::new().await;
    let mut committed = f.truth.committed();
    let busy = f.truth.shared.writer.acquire().await.unwrap();
    {
        let mut put = Box::pin(f.put(vec![document("a", "text")]));
        assert!((&mut put).now_or_never().is_none(), "it waits for the connection");
    }
    drop(busy);
    committed.wait_for(|commit| commit.position == Position(2)).await.unwrap();
    assert_eq!(f.text("a").await.as_deref(), Some("text"));
}

#[tokio::test]
async fn the_number_of_waiting_writes_is_limited() {
    let f = Fixture::new().await;
    let busy = f.truth.shared.writer.acquire().await.unwrap();
    let mut waiting: Vec<_> = (0..MAX_WRITES_WAITING)
        .map(|i| Box::pin(f.put(vec![document(&i.to_string(), "text")])))
        .collect();
    for put in &mut waiting {
        assert!(put.now_or_never().is_none());
    }
    let refused = f.put(vec![document("one too many", "text")]).await;
    assert!(matches!(refused, Err(TruthError::Overloaded)), "{refused:?}");
    drop(busy);
    for put in join_all(waiting).await {
        put.unwrap();
    }
    assert_eq!(f.text("one too many").await, None);
}

#[tokio::test]
async fn a_delete_has_a_position_only_if_something_was_deleted() {
    let f = Fixture::new().await;
    f.put_one("a", "text").await;
    let delete = async || f.truth.delete(&f.docs, vec![doc("a")]).await.unwrap().map(position);
    assert_eq!(delete().await, Some(3));
    assert_eq!(delete().await, None);
    assert_eq!(f.text("a").await, None);
    let unknown = f.truth.delete(&name("other"), vec![doc("a")]).await;
    assert!(matches!(unknown, Err(TruthError::UnknownCollection(_))));
    assert_eq!(f.position().await, 3);
}

#[tokio::test]
async fn a_recreated_collection_is_empty() {
    let f = Fixture::new().await;
    let (made, commit) = f.truth.create_collection(&f.docs).await.unwrap();
    assert_eq!((position(made.created), commit), (1, None), "it already exists");
    f.put(vec![document("a", "text"), document("b", "text")]).await.unwrap();
    assert_eq!(f.truth.collections().await.unwrap().0[0].documents, 2);

    assert_eq!(f.truth.drop_collection(&f.docs).await.unwrap().map(position), Some(3));
    assert_eq!(f.truth.drop_collection(&f.docs).await.unwrap(), None);
    let unknown = f.truth.document(&f.docs, &doc("a")).await;
    assert!(matches!(unknown, Err(TruthError::UnknownCollection(_))));

    let (made, commit) = f.truth.create_collection(&f.docs).await.unwrap();
    assert_eq!((position(made.created), commit), (4, Some(made.created)));
    assert_eq!(f.truth.collection(&f.docs).await.unwrap().0, Some(made));
    assert_eq!(f.text("a").await, None);
    assert_eq!(f.log(2, 10).await, ["3 deleted", "4 created"]);
}

#[tokio::test]
async fn the_number_of_collections_is_limited() {
    let f = Fixture::new().await;
    sqlx::query(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1023)
         INSERT INTO collections (name, created, created_chain, last) SELECT 'c' || i, 1, 0, 1 FROM n",
    )
    .execute(&f.truth.shared.writer)
    .await
    .unwrap();
    let refused = f.truth.create_collection(&name("one-too-many")).await;
    assert!(matches!(refused, Err(TruthError::TooManyCollections { limit: 1_024 })));
    assert!(f.truth.create_collection(&f.docs).await.is_ok(), "it already exists");
    assert_eq!(f.truth.collections().await.unwrap().0.len(), 1_024);
}

#[tokio::test]
async fn documents_are_deleted_together_at_one_position() {
    let f = Fixture::new().await;
    f.put(vec![document("a", "text"), document("b", "text")]).await.unwrap();
    let ids = vec![doc("a"), doc("never"), doc("b"), doc("a")];
    let deleted = f.truth.delete(&f.docs, ids.clone()).await.unwrap();
    assert_eq!(deleted.map(position), Some(3));
    assert_eq!(f.log(2, 10).await, ["3 -a", "3 -b", "3 rolled"]);
    assert_eq!(f.truth.delete(&f.docs, ids).await.unwrap(), None);
    let many = (0..=MAX_DOCUMENTS_PER_WRITE).map(|i| doc(&i.to_string())).collect();
    let refused = f.truth.delete(&f.docs, many).await;
    assert!(matches!(refused, Err(TruthError::TooManyDocuments { limit: 10_000 })));
}
