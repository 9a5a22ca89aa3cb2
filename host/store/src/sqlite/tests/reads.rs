//! Reads: the log in whole commits, news, and documents.

use super::*;

#[tokio::test]
async fn the_log_is_read_in_whole_commits() {
    let f = Fixture::new().await;
    f.put(vec![document("b", ""), document("a", ""), document("c", "")]).await.unwrap();
    f.truth.delete(&f.docs, vec![doc("b")]).await.unwrap();
    let put: &[&str] = &["2 +b", "2 +a", "2 +c", "2 rolled"];
    let all = [&["1 created"], put, &["3 -b", "3 rolled"]].concat();
    let cases: [(u64, u32, &[&str]); 6] = [
        (0, 1, &all[..1]),
        (0, 0, &all[..1]),
        (0, 2, &all[..5]),
        (1, 1, put),
        (1, 5, &all[1..]),
        (2, 100, &all[5..]),
    ];
    for (after, limit, expected) in cases {
        assert_eq!(f.log(after, limit).await, expected, "{limit} after {after}");
    }
    for after in [3, 4, u64::MAX] {
        assert!(f.log(after, 10).await.is_empty(), "after {after}");
    }
    assert!(f.truth.log(&name("other"), Position(0), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_line_of_an_unknown_kind_says_that_it_is_newer() {
    let f = Fixture::new().await;
    let newer = "UPDATE changes SET kind = 99";
    sqlx::query(newer).execute(&f.truth.shared.writer).await.unwrap();
    let error = f.truth.log(&f.docs, Position(0), 10).await.unwrap_err().to_string();
    assert!(error.contains("a line of kind 99") && error.contains("newer Weir"), "{error}");
}

#[tokio::test]
async fn news_name_the_collections_with_new_lines() {
    let f = Fixture::new().await;
    let other = name("a-first");
    f.truth.create_collection(&other).await.unwrap();
    f.put_one("a", "text").await;
    f.truth.drop_collection(&other).await.unwrap();
    f.put_one("a", "text").await;
    let cases: [(u64, &[(&str, u64)]); 5] = [
        (0, &[("a-first", 4), ("docs", 3)]),
        (2, &[("a-first", 4), ("docs", 3)]),
        (3, &[("a-first", 4)]),
        (4, &[]),
        (u64::MAX, &[]),
    ];
    for (after, expected) in cases {
        let news = f.truth.news(Position(after)).await.unwrap();
        assert_eq!(news.head, f.truth.head().await.unwrap());
        let collections: Vec<_> =
            news.collections.iter().map(|(name, last)| (name.as_str(), last.0)).collect();
        assert_eq!(collections, expected, "after {after}");
    }
}

#[tokio::test]
async fn many_documents_are_read_at_a_position() {
    let f = Fixture::new().await;
    let ids: Vec<_> = (0..10_000).map(|i| doc(&format!("{i:05}"))).collect();
    f.put(ids.iter().map(|id| document(id.as_str(), "old")).collect()).await.unwrap();
    f.put(ids.iter().map(|id| document(id.as_str(), "new")).collect()).await.unwrap();
    let twice: Vec<_> = ids.iter().chain(&ids).chain([&doc("never")]).cloned().collect();
    for (at, text) in [(2, "old"), (3, "new")] {
        let read = f.truth.documents_at(&f.docs, &twice, Position(at)).await.unwrap();
        assert!(read.iter().map(|document| &document.id).eq(&ids), "each once, by id");
        assert!(read.iter().all(|d| *d.text == *text && d.version == Position(at)));
    }
    assert!(f.truth.documents_at(&f.docs, &ids, Position(1)).await.unwrap().is_empty());
    assert!(f.truth.documents_at(&f.docs, &[], Position(3)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_document_is_read_as_it_was_put() {
    let f = Fixture::new().await;
    let metadata = r#"{"n":9007199254740993,"x":"\u0000é"}"#;
    let put = NewDocument {
        metadata: metadata.into(),
        chunks: vec![0..3, 4..9],
        ..document("a/b?\"c\" 'd'", "äx\nwörd 🦀")
    };
    f.put(vec![put.clone()]).await.unwrap();
    let read = f.truth.document(&f.docs, &put.id).await.unwrap().0.unwrap();
    assert_eq!(read.version, Position(2));
    assert_eq!((read.id, read.text), (put.id, put.text));
    assert_eq!((read.metadata, read.chunks), (put.metadata, put.chunks));
}
