//! The cost of the sandbox: compares `search` as a component with the same code compiled
//! natively. Both use the same services and run interleaved in one process.
//!
//! Run by `cargo xtask bench`, which sets the environment. Prints one line of JSON with medians
//! over rounds of the whole process's CPU time. Out of scope: HTTP, which both would share.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark ends by panicking")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, Method};
use search::{Host, Query};
use weir::build;
use weir::config::Config;
use weir_core::Position;
use weir_core::name::{DocumentId, Name};
use weir_embedding::{Embedding, Origin, Texts};
use weir_limits::charge::Charge;
use weir_limits::client::Client;
use weir_limits::threads::Account;
use weir_runtime::capability::collections::{FoundHits, write_results};
use weir_runtime::deploy::Deployment;
use weir_runtime::request::{KeyedRequest, RequestId};
use weir_runtime::tenant::documents::IncomingDocument;
use weir_runtime::tenant::reading::Demand;
use weir_sdk::collections::{Unit, VectorError};
use weir_sdk::embedding::EmbedError;
use weir_server::http::app::App;

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
        let app = Arc::new(build::app(config(folder.path()), false).await.unwrap());
        fill(&app).await;
        let tenant = app.tenants.iter().next().unwrap();
        let search = Name::new("search").unwrap();
        let deployment = app.deployments.get(&tenant.name, &search).unwrap();
        let mut results = serde_json::Map::new();
        for mode in ["keyword", "dense", "hybrid"] {
            let body = format!(r#"{{"mode":"{mode}","query":"flow over wing number 7"}}"#);
            let body = Bytes::from(body);
            let result = compare(&deployment, &app, &body).await;
            results.insert(mode.to_owned(), result);
        }
        println!("{}", serde_json::Value::from(results));
        tenant.documents.close().await;
    });
}

/// Runs both in turn and reports the cost of an answer of each.
async fn compare(deployment: &Arc<Deployment>, app: &Arc<App>, body: &Bytes) -> serde_json::Value {
    let of_wasm = wasm(deployment, body.clone()).await;
    let of_native = native(deployment, app, body.clone()).await;
    assert_eq!(of_wasm, of_native, "both give the same answer");
    let (mut wasm_us, mut native_us) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = cpu_time();
        at_once(|| wasm(deployment, body.clone())).await;
        let between = cpu_time();
        at_once(|| native(deployment, app, body.clone())).await;
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

/// Asks with [`IN_FLIGHT`] questions in flight. If threads slept between two answers, this
/// would measure how fast they wake up.
async fn at_once<F: Future>(mut ask: impl FnMut() -> F) {
    let questions = stream::iter(0..ANSWERS_A_ROUND).map(|_| ask());
    questions.buffer_unordered(IN_FLIGHT).for_each(|_| async {}).await;
}

async fn wasm(deployment: &Arc<Deployment>, body: Bytes) -> Bytes {
    let request = KeyedRequest {
        id: RequestId::of([0, 0]),
        client: client(),
        method: Method::POST,
        path: "/v1/pipelines/search".to_owned(),
        query: Vec::new(),
        headers: HeaderMap::new(),
        body,
        charge: Charge::none(),
    };
    let demand = Demand::default();
    deployment.runner.run(Arc::new(request), demand).await.outcome.unwrap().body
}

fn client() -> Client {
    Client::at(Ipv4Addr::LOCALHOST.into())
}

async fn native(deployment: &Arc<Deployment>, app: &Arc<App>, body: Bytes) -> Bytes {
    let host =
        Native { app: Arc::clone(app), searching: deployment.runner.guests.searching().clone() };
    let deadline = Instant::now() + deployment.pipeline().deadline;
    let run = deployment.runner.guests.run(client(), deadline, || async move {
        let (hits, mode) = search::answer(&host, &body).await.expect("an answer");
        let mode = format!("\"{}\"", mode.as_str());
        let members = [("mode".to_owned(), mode)];
        Bytes::from(write_results(&hits, &members, MAX_ANSWER_BYTES).unwrap())
    });
    run.await.unwrap()
}

/// The host's services, called directly.
struct Native {
    app: Arc<App>,
    searching: Account,
}

impl Host for Native {
    type Embedding = Embedding;
    type Hits = FoundHits;

    fn setting(&self, name: &str) -> Option<String> {
        (name == "collection").then(|| COLLECTION.to_owned())
    }

    async fn embed(&self, _model: Option<&str>, text: &str) -> Result<Embedding, EmbedError> {
        let texts = Texts::new([text]);
        let origin = Origin::pipeline("bench", "native");
        let model = self.app.models.default_model();
        Ok(model.embed(&texts, &origin).await.unwrap().remove(0).vector)
    }

    async fn search(
        &self,
        collection: &str,
        query: Query<'_, Embedding>,
    ) -> Result<FoundHits, VectorError> {
        assert!(query.filter.is_none() && matches!(query.unit, Unit::Document));
        let query = weir_search::Query {
            nearest: query.nearest.cloned(),
            text: query.text,
            filter: None,
            minimum_score: query.minimum_score,
            unit: weir_search::Unit::Document,
            limit: query.limit,
            offset: query.offset,
        };
        let tenant = self.app.tenants.iter().next().unwrap();
        let reading = tenant.reading(Position::ZERO);
        let state = reading.read(&Name::new(collection).unwrap()).unwrap().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        Ok(FoundHits(state.search(query, deadline, &self.searching).await.unwrap()))
    }
}

fn config(folder: &std::path::Path) -> Config {
    let path = |name: &str| std::env::var(name).expect("run `cargo xtask bench`");
    let (components, library) = (path("WEIR_COMPONENTS"), path("WEIR_ONNXRUNTIME_LIBRARY"));
    let (model, tokenizer) = (path("WEIR_MODEL"), path("WEIR_TOKENIZER"));
    let text = format!(
        r#"
        [data]
        folder = "{}"
        [embedding]
        library = "{library}"
        [embedding.models.all-MiniLM-L6-v2]
        model = "{model}"
        tokenizer = "{tokenizer}"
        [pipelines.search]
        component = "{components}/plugins/search.wasm"
        [pipelines.search.grants]
        embedding = {{}}
        collections = {{ read = ["{COLLECTION}"] }}
        settings = true
        [pipelines.search.settings]
        collection = "{COLLECTION}"
        "#,
        folder.display(),
    );
    Config::parse(&text).unwrap()
}

async fn fill(app: &App) {
    let documents = &app.tenants.iter().next().unwrap().documents;
    let name = Name::new(COLLECTION).unwrap();
    documents.create_collection(&name).await.unwrap();
    let document = |number: usize| IncomingDocument {
        id: DocumentId::new(&number.to_string()).unwrap(),
        text: format!("Document {number} measures the flow over wing number {}.", number % 50)
            .into(),
        metadata: "{}".into(),
    };
    let turn = documents.turn().await.unwrap();
    let all = (0..DOCUMENTS).map(document).collect();
    let written = documents.put(turn, &name, all, None).await.unwrap();
    let began = Instant::now();
    while !documents.searchable(&[(&name, written.commit)]).await {
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
