//! Reads: the log in whole positions, and documents.

use super::*;

#[tokio::test]
async fn the_log_is_read_in_whole_positions() {
    let f = Fixture::new().await;
    f.put(vec![document("b", ""), document("a", ""), document("c", "")]).await.unwrap();
    f.truth.delete(&f.docs, vec![doc("b")]).await.unwrap();
    let cases: [(u64, u32, &[&str]); 6] = [
        (0, 1, &["1 docs created"]),
        (0, 0, &["1 docs created"]),
        (0, 2, &["1 docs created", "2 docs +a", "2 docs +b", "2 docs +c"]),
        (1, 1, &["2 docs +a", "2 docs +b", "2 docs +c"]),
        (1, 4, &["2 docs +a", "2 docs +b", "2 docs +c", "3 docs -b"]),
        (2, 100, &["3 docs -b"]),
    ];
    for (after, limit, expected) in cases {
        assert_eq!(f.log(after, limit).await, expected, "{limit} after {after}");
    }
    for after in [3, 4, u64::MAX] {
        assert!(f.log(after, 10).await.is_empty(), "after {after}");
    }
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
    let read = f.truth.document(&f.docs, &put.id).await.unwrap().unwrap();
    assert_eq!(read.version, Position(2));
    assert_eq!((read.id, read.text), (put.id, put.text));
    assert_eq!((read.metadata, read.chunks), (put.metadata, put.chunks));
}
