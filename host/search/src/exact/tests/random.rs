//! Random pages and queries, on the store and on a naive model of it.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::model::{Collection, Model};
use super::*;

const WORDS: [&str; 6] = ["wing", "flap", "rudder", "nose", "tail", "slat"];
const COLLECTIONS: [&str; 2] = ["c", "other"];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn any_chunk() -> impl Strategy<Value = IndexedChunk> {
    // Few values, so that scores tie.
    let vector = prop::array::uniform3((-1_i8..=1).prop_map(f32::from));
    let text = vec(prop::sample::select(&WORDS[..]), 0..5).prop_map(|words| words.join(" "));
    (text, vector).prop_map(|(text, vector)| chunk(&text, vector))
}

fn any_document() -> impl Strategy<Value = IndexedDocument> {
    (0..4, vec(any_chunk(), 0..4)).prop_map(|(n, chunks)| IndexedDocument {
        version: Position(0),
        content: content(json!({"n": n, "tags": [n, "x"]})),
        chunks,
    })
}

/// Documents `d0` to `d29` written or deleted; sometimes all of them at once.
fn any_documents() -> impl Strategy<Value = Vec<(DocumentId, Option<IndexedDocument>)>> {
    let of = |size| {
        let key = (0..30).prop_map(|n| id(&format!("d{n}")));
        btree_map(key, option::weighted(0.7, any_document()), size)
    };
    prop_oneof![6 => of(0..4), 1 => of(20..30)]
        .prop_map(|documents| documents.into_iter().collect())
}

fn any_epoch() -> impl Strategy<Value = Epoch> {
    let given = (1..50_u64, vec((prop::sample::select(&WORDS[..]), 0..9_u32), 0..4));
    let given = given.prop_map(|(chunks, frequencies)| {
        let document_frequency =
            frequencies.into_iter().map(|(word, n)| (Arc::from(word), n)).collect();
        Epoch::Given(Arc::new(Statistics { epoch: Position(1), chunks, document_frequency }))
    });
    prop_oneof![4 => Just(Epoch::Kept), 2 => Just(Epoch::Rolled), 1 => given]
}

/// Pages at the positions 1, 2, 3 and so on.
fn any_pages() -> impl Strategy<Value = Vec<IndexPage>> {
    let base = prop_oneof![20 => Just(Base::Kept), 1 => Just(Base::Empty), 1 => Just(Base::Gone)];
    let collection = prop_oneof![4 => Just(COLLECTIONS[0]), 1 => Just(COLLECTIONS[1])];
    let page = (collection, base, any_documents(), any_epoch());
    vec(page, 1..25).prop_map(|pages| {
        let page = |((collection, base, mut documents, epoch), position): (_, u64)| {
            let documents: &mut Vec<(DocumentId, Option<IndexedDocument>)> = &mut documents;
            for document in documents.iter_mut().filter_map(|(_, document)| document.as_mut()) {
                document.version = Position(position);
            }
            let mut documents = std::mem::take(documents);
            if base == Base::Gone {
                documents.clear();
            }
            // The order of the documents does not matter.
            documents.reverse();
            let (collection, up_to) = (name(collection), commit(position));
            IndexPage { collection, up_to, base, documents, epoch }
        };
        pages.into_iter().zip(1..).map(page).collect()
    })
}

fn any_query() -> impl Strategy<Value = Query> {
    let vector = prop::array::uniform3(-1.0_f32..1.0);
    let text = vec(prop::sample::select(&WORDS[..]), 0..4).prop_map(|words| words.join(" "));
    let condition = (0..4_i64).prop_map(|n| Condition {
        field: "n".into(),
        predicate: Predicate::Equals(Value::Integer(n)),
    });
    let filter = vec(condition, 1..3).prop_map(|should| Filter { should, ..Filter::default() });
    let unit = prop::sample::select(vec![Unit::Document, Unit::Chunk]);
    let parts = (option::of(vector), option::of(text), option::of(filter), unit);
    (parts, option::of(-0.5_f32..0.5), 0..30_u32, 0..5_u32).prop_map(
        |((nearest, text, filter, unit), minimum_score, limit, offset)| Query {
            nearest: nearest.map(|vector| Embedding(vector.into())),
            text,
            filter,
            unit,
            minimum_score,
            limit,
            offset,
        },
    )
}

/// Fails unless `snapshot` answers like `expected`, to the bit.
async fn compare(
    snapshot: Option<&Arc<dyn Snapshot>>,
    expected: Option<&Collection>,
    queries: &[Query],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(snapshot.is_some(), expected.is_some());
    let (Some(snapshot), Some(expected)) = (snapshot, expected) else { return Ok(()) };
    let bits = |hits: Result<Vec<Hit>, VectorError>| {
        let bits = |hit: Hit| (hit.score.to_bits(), hit);
        hits.map(|hits| hits.into_iter().map(bits).collect::<Vec<_>>())
    };
    for query in queries {
        let found = search(&**snapshot, query.clone()).await;
        prop_assert_eq!(bits(found), bits(expected.search(query.clone(), DIMENSIONS)));
    }
    prop_assert_eq!(snapshot.statistics(), &expected.statistics);
    prop_assert_eq!(snapshot.documents(), expected.documents.len() as u64);
    for n in 0..30 {
        let id = id(&format!("d{n}"));
        let document = expected.documents.get(&id);
        let document = document.map(|document| (document.version, Arc::clone(&document.content)));
        prop_assert_eq!(snapshot.document(&id), document);
    }
    Ok(())
}

/// Compares all of `store` with `model`, also the last lines.
async fn compare_all(
    store: &ExactStore,
    model: &Model,
    lasts: &HashMap<Name, Commit>,
    queries: &[Query],
) -> Result<(), TestCaseError> {
    let stored = store.stored();
    let stored_lasts: HashMap<_, _> =
        stored.iter().map(|(name, stored)| (name.clone(), stored.last)).collect();
    prop_assert_eq!(&stored_lasts, lasts);
    for name in COLLECTIONS.map(name) {
        let snapshot = stored.get(&name).and_then(|stored| stored.snapshot.as_ref());
        compare(snapshot, model.0.get(&name), queries).await?;
    }
    Ok(())
}

/// What the collection is, in one page.
fn at_once(name: &Name, collection: &Collection) -> IndexPage {
    let documents = collection.documents.clone().into_iter();
    IndexPage {
        collection: name.clone(),
        up_to: commit(1),
        base: Base::Empty,
        documents: documents.map(|(id, document)| (id, Some(document))).collect(),
        epoch: Epoch::Given(Arc::clone(&collection.statistics)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_answers_like_the_model(
        pages in any_pages(), queries in vec(any_query(), 6), restart in 0..25_usize,
    ) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut stored = open(folder.path()).await;
            let in_memory = ExactStore::in_memory(DIMENSIONS);
            let (mut model, mut lasts) = (Model::default(), HashMap::new());
            let mut held = Vec::new();
            for (n, page) in pages.into_iter().enumerate() {
                let name = page.collection.clone();
                lasts.insert(name.clone(), page.up_to);
                model.apply(page.clone());
                let expected = model.0.get(&name).cloned();
                let written = stored.apply(page.clone()).await.unwrap();
                compare(written.as_ref(), expected.as_ref(), &queries).await?;
                for _ in 0..2 {
                    let snapshot = in_memory.apply(page.clone()).await.unwrap();
                    compare(snapshot.as_ref(), expected.as_ref(), &queries).await?;
                    held.push((snapshot, expected.clone()));
                }
                if n == restart {
                    drop(stored);
                    stored = open(folder.path()).await;
                }
                compare_all(&stored, &model, &lasts, &queries).await?;
            }
            drop(stored);
            compare_all(&open(folder.path()).await, &model, &lasts, &queries).await?;
            for (snapshot, expected) in held {
                compare(snapshot.as_ref(), expected.as_ref(), &queries).await?;
            }
            let fresh = ExactStore::in_memory(DIMENSIONS);
            for (name, collection) in &model.0 {
                let snapshot = fresh.apply(at_once(name, collection)).await.unwrap();
                compare(snapshot.as_ref(), Some(collection), &queries).await?;
            }
            Ok::<(), TestCaseError>(())
        })?;
    }
}
