//! Reads: the log in whole positions, and the texts of hits.

use super::*;
use crate::ChunkRef;
use crate::HitText;

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

#[tokio::test]
async fn a_hit_has_a_text_only_while_its_version_is_current() {
    let f = Fixture::new().await;
    let hit = |id: &str, version: u64, start: u32, end: u32| ChunkRef {
        document: doc(id),
        version: Position(version),
        start,
        end,
    };
    let quoted =
        NewDocument { metadata: r#"{"q":1}"#.into(), ..document("\"q\" [1]", "äöü 🦀") };
    f.put(vec![quoted, document("old", "old text"), document("gone", "gone")]).await.unwrap();
    f.put_one("old", "new text").await;
    f.truth.delete(&f.docs, vec![doc("gone")]).await.unwrap();
    let cases = [
        (hit("\"q\" [1]", 2, 0, 11), Some("äöü 🦀")),
        (hit("old", 2, 0, 8), None),
        (hit("\"q\" [1]", 2, 2, 6), Some("öü")),
        (hit("old", 3, 0, 3), Some("new")),
        (hit("gone", 2, 0, 4), None),
        (hit("never", 2, 0, 4), None),
        (hit("old", 4, 0, 8), None),
        // Ranges that a correct index cannot contain.
        (hit("\"q\" [1]", 2, 0, 1), None),
        (hit("old", 3, 4, 100), None),
    ];
    let (hits, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let texts = f.truth.hit_texts(&f.docs, &hits).await.unwrap();
    let found: Vec<_> = texts.iter().map(|hit| hit.as_ref().map(|hit| &*hit.text)).collect();
    assert_eq!(found, expected);
    assert_eq!(texts[0], Some(HitText { text: "äöü 🦀".into(), metadata: r#"{"q":1}"#.into() }));

    assert!(f.truth.hit_texts(&f.docs, &[]).await.unwrap().is_empty());
    f.truth.drop_collection(&f.docs).await.unwrap();
    f.truth.create_collection(&f.docs).await.unwrap();
    f.put_one("old", "new text").await;
    assert_eq!(f.truth.hit_texts(&f.docs, &hits).await.unwrap(), vec![None; hits.len()]);
    assert_eq!(f.truth.hit_texts(&name("other"), &hits).await.unwrap(), vec![None; hits.len()]);
}
