//! A truth in memory: like one in a file, but apart from every other, and gone.

use std::sync::Arc;

use weir_core::Position;

use super::{LIMITS, SqliteTruth, document, name};
use crate::{Truth, TruthError};

#[tokio::test]
async fn it_is_empty_and_apart_from_every_other() {
    let [one, other] = [
        SqliteTruth::in_memory(LIMITS).await.unwrap(),
        SqliteTruth::in_memory(LIMITS).await.unwrap(),
    ];
    assert_eq!(one.head().await.unwrap().position, Position::ZERO);
    one.create_collection(&name("docs")).await.unwrap();
    assert_eq!(other.collections().await.unwrap().0, []);
    assert!(one.id() != other.id() && one.secret().0 != other.secret().0);
    one.close().await;
    assert!(one.head().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_at_once_all_succeed() {
    let truth = Arc::new(SqliteTruth::in_memory(LIMITS).await.unwrap());
    let docs = name("docs");
    truth.create_collection(&docs).await.unwrap();
    let work = (0..16).map(|number| {
        let (truth, docs) = (Arc::clone(&truth), docs.clone());
        tokio::spawn(async move {
            let id = format!("d{number}");
            let put = truth.put(&docs, vec![document(&id, "text")], None).await?;
            let log = truth.log(&docs, Position::ZERO, 100).await?;
            assert!(log.iter().any(|change| change.commit == put.commit));
            truth.trim(Position(1)).await?;
            truth.collections().await?;
            Ok::<_, TruthError>(())
        })
    });
    for done in work.collect::<Vec<_>>() {
        done.await.unwrap().unwrap();
    }
    assert_eq!(truth.head().await.unwrap().position, Position(17));
}
