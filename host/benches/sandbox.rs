//! The sandbox's price: `search` as a component against the same code compiled natively,
//! over the same services, in one process, interleaved.
//!
//! Run by `cargo xtask bench`, which sets the environment. Prints one line of JSON: medians
//! over rounds, CPU time of the whole process. Left out: HTTP, which both would share.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, Method};
use search::{Host, Query};
use weir::capability::vector::{FoundHit, FoundHits};
use weir::config::Config;
use weir::documents::{DocumentService, IncomingDocument, follow_commits};
use weir::engine::Engines;
use weir::engine::threads::GuestThreads;
use weir::pipeline::answer::hits_body;
use weir::pipeline::call::Services;
use weir::pipeline::{Deployment, KeyedRequest, Registry};
use weir_backends::catch_up::CatchUp;
use weir_backends::embedding::onnx::{OnnxConfig, OnnxEmbedder};
use weir_backends::embedding::{Embedder, Embedding, Lane};
use weir_backends::name::{DocumentId, Name};
use weir_backends::sql::sqlite::SqliteTruth;
use weir_backends::vector::exact::ExactStore;
use weir_backends::vector::{self, VectorStore};
use weir_cache::tag::TagTable;
use weir_sdk::collections::{Unit, VectorError};
use weir_sdk::embedding::EmbedError;

const DOCUMENTS: usize = 500;
const ROUNDS: usize = 21;
const ANSWERS_A_ROUND: u32 = 1_000;
const IN_FLIGHT: usize = 16;
const COLLECTION: &str = "bench";
const MAX_ANSWER_BYTES: usize = 4 << 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let config = config();
        let services = services(&config, folder.path()).await;
        fill(&services).await;
        let engines = Engines::new(&config.engine).unwrap();
        let pipelines = Registry::load(&engines, &config).unwrap();
        let deployment = Arc::clone(pipelines.iter().next().unwrap());
        let threads = Arc::new(GuestThreads::start(&config.engine, engines.clock()).unwrap());
        let mut results = serde_json::Map::new();
        for mode in ["keyword", "dense", "hybrid"] {
            let body = format!(r#"{{"mode":"{mode}","query":"flow over wing number 7"}}"#);
            let body = Bytes::from(body);
            let result = compare(&deployment, &threads, &services, &body).await;
            results.insert(mode.to_owned(), result);
        }
        println!("{}", serde_json::Value::from(results));
        services.documents.close().await;
    });
}

/// Runs both in turn and says what an answer of each costs.
async fn compare(
    deployment: &Arc<Deployment>,
    threads: &Arc<GuestThreads>,
    services: &Arc<Services>,
    body: &Bytes,
) -> serde_json::Value {
    let of_wasm = wasm(deployment, threads, services, body.clone()).await;
    let of_native = native(threads, services, body.clone()).await;
    assert_eq!(of_wasm, of_native, "the two give one answer");
    let (mut wasm_us, mut native_us) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = cpu_time();
        at_once(|| wasm(deployment, threads, services, body.clone())).await;
        let between = cpu_time();
        at_once(|| native(threads, services, body.clone())).await;
        let after = cpu_time();
        wasm_us.push(micros_an_answer(between - before));
        native_us.push(micros_an_answer(after - between));
    }
    let ratios = wasm_us.iter().zip(&native_us).map(|(wasm, native)| wasm / native).collect();
    serde_json::json!({
        "wasm_cpu_us": median(wasm_us),
        "native_cpu_us": median(native_us),
        "ratio": median(ratios),
    })
}

/// Asks with [`IN_FLIGHT`] questions under way: a machine whose threads sleep between two
/// answers measures how they wake.
async fn at_once<F: Future>(mut ask: impl FnMut() -> F) {
    let questions = stream::iter(0..ANSWERS_A_ROUND).map(|_| ask());
    questions.buffer_unordered(IN_FLIGHT).for_each(|_| async {}).await;
}

async fn wasm(
    deployment: &Arc<Deployment>,
    threads: &GuestThreads,
    services: &Arc<Services>,
    body: Bytes,
) -> Bytes {
    let request = KeyedRequest {
        method: Method::POST,
        path: "/v1/pipelines/search".to_owned(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body,
    };
    deployment.run(threads, services, Arc::new(request)).await.outcome.unwrap().body
}

async fn native(threads: &GuestThreads, services: &Arc<Services>, body: Bytes) -> Bytes {
    let host = Native(Arc::clone(services));
    let run = threads.spawn(async move {
        let (hits, mode) = search::answer(&host, &body).await.expect("an answer");
        let mode = format!("\"{}\"", mode.as_str());
        hits_body(&hits, &[("mode".to_owned(), mode)], MAX_ANSWER_BYTES).unwrap()
    });
    run.await.unwrap()
}

/// The host's services, called directly.
struct Native(Arc<Services>);

impl Host for Native {
    type Embedding = Embedding;
    type Hits = FoundHits;

    fn setting(&self, name: &str) -> Option<String> {
        (name == "collection").then(|| COLLECTION.to_owned())
    }

    async fn embed(&self, _model: &str, text: &str) -> Result<Embedding, EmbedError> {
        let texts = [Arc::from(text)];
        let mut vectors = self.0.embedder.embed(&texts, Lane::Interactive).await.unwrap();
        Ok(vectors.remove(0))
    }

    async fn search(
        &self,
        collection: &str,
        query: Query<'_, Embedding>,
    ) -> Result<FoundHits, VectorError> {
        assert!(query.filter.is_none() && matches!(query.unit, Unit::Document));
        let collection = Name::new(collection).unwrap();
        let query = vector::Query {
            collection: collection.clone(),
            nearest: query.nearest.cloned(),
            text: query.text,
            filter: None,
            minimum_score: query.minimum_score,
            unit: vector::Unit::Document,
            limit: query.limit,
            offset: query.offset,
        };
        let page = self.0.vectors.search(query).await.unwrap();
        let texts = self.0.truth.hit_texts(&collection, &page.hits).await.unwrap();
        let found = page.hits.into_iter().zip(texts);
        Ok(FoundHits(found.filter_map(|(hit, text)| Some(FoundHit { hit, text: text? })).collect()))
    }
}

fn config() -> Config {
    let components = std::env::var("WEIR_COMPONENTS").expect("run `cargo xtask bench`");
    let text = format!(
        r#"
        [pipelines.search]
        component = "{components}/plugins/search.wasm"
        grants = ["weir:embedding/embedder", "weir:vector/collections", "weir:observe/settings"]
        [pipelines.search.settings]
        collection = "{COLLECTION}"
        "#
    );
    Config::parse(&text).unwrap()
}

async fn services(config: &Config, folder: &std::path::Path) -> Arc<Services> {
    let path = |name: &str| std::env::var(name).expect("run `cargo xtask bench`").into();
    let onnx = OnnxConfig::new(
        path("WEIR_ONNXRUNTIME_LIBRARY"),
        path("WEIR_MODEL"),
        path("WEIR_TOKENIZER"),
    );
    let embedder: Arc<dyn Embedder> = OnnxEmbedder::load(onnx).unwrap();
    let truth = SqliteTruth::open(folder).await.unwrap();
    let tags = Arc::new(TagTable::new(1_000, truth.position().await.unwrap()));
    follow_commits(&truth, tags.clone());
    let vectors: Arc<dyn VectorStore> = Arc::new(
        ExactStore::open(folder, embedder.model_digest(), embedder.dimensions()).await.unwrap(),
    );
    let catch_up = CatchUp::start(truth.clone(), embedder.clone(), vectors.clone());
    let documents = Arc::new(DocumentService::new(
        truth.clone(),
        catch_up,
        embedder.clone(),
        config.ingest.clone(),
    ));
    let io = tokio::runtime::Handle::current();
    Arc::new(Services { embedder, vectors, truth, documents, tags, io })
}

async fn fill(services: &Services) {
    let name = Name::new(COLLECTION).unwrap();
    services.documents.create_collection(&name).await.unwrap();
    let document = |number: usize| IncomingDocument {
        id: DocumentId::new(&number.to_string()).unwrap(),
        text: format!("Document {number} measures the flow over wing number {}.", number % 50)
            .into(),
        metadata: "{}".into(),
    };
    let turn = services.documents.turn().await.unwrap();
    let documents = (0..DOCUMENTS).map(document).collect();
    let written = services.documents.put(turn, &name, documents, None).await.unwrap();
    let began = Instant::now();
    while !services.documents.searchable(written.position).await {
        assert!(began.elapsed() < Duration::from_secs(120), "the documents become searchable");
    }
}

fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is valid for writes of one `rusage`, which the call fills when it
    // returns zero, as asserted.
    let usage = unsafe {
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()), 0);
        usage.assume_init()
    };
    let of = |time: libc::timeval| {
        Duration::new(time.tv_sec.unsigned_abs(), 1_000 * u32::try_from(time.tv_usec).unwrap())
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn micros_an_answer(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e6 / f64::from(ANSWERS_A_ROUND)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
