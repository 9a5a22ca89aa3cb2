//! `cargo xtask eval`: measures how well searches rank, only over HTTP.
//!
//! `collection` reads queries and judgements, and `metrics` compares results with them. The cost of
//! a search is measured by `bench`, not here.

pub(crate) mod collection;
mod metrics;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::json;

use self::collection::{TestCollection, ingest};
use crate::client::Client;
use crate::commands::test::build_server;
use crate::components;
use crate::progress::Progress;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::set_up;
use crate::workspace::Workspace;

const COLLECTION: &str = "xtask-eval";
/// The number of results that recall@100 needs.
const LIMIT: usize = 100;

/// Each mode with the nDCG@10 that it must reach on Cranfield. Independent programs with the same
/// model and chunks reach 0.512, 0.514 and 0.563.
const MODES: [(&str, f64); 3] = [("dense", 0.505), ("keyword", 0.505), ("hybrid", 0.555)];

/// Measure how well searches rank, on a collection with judgements
///
/// Ingests documents.jsonl over HTTP, sends queries.jsonl in each mode, compares the results with
/// qrels.tsv, and prints nDCG@10, recall@10, recall@100 and MRR@10. Fails if the nDCG@10 of a mode
/// is below its bound. The bounds are for the Cranfield collection.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Eval {
    /// The folder with documents.jsonl, queries.jsonl and qrels.tsv
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Use this server, which must host `search`, instead of starting one
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Only print the figures, and never fail because of a bound
    #[arg(long)]
    no_bounds: bool,
}

impl Eval {
    pub(crate) async fn run(self) -> Result<()> {
        let test = TestCollection::read(&self.data)?;
        let scores = match &self.url {
            Some(url) => measure(&Client::new(url)?, &test).await?,
            None => measure_own_server(&test).await?,
        };
        print_table(&scores);
        ensure!(
            self.no_bounds || scores.iter().all(|score| score.ndcg_10 >= score.bound),
            "nDCG@10 is below its bound: {}",
            scores
                .iter()
                .filter(|score| score.ndcg_10 < score.bound)
                .map(|score| format!("{} {:.4} < {}", score.mode, score.ndcg_10, score.bound))
                .collect::<Vec<_>>()
                .join(", ")
        );
        Ok(())
    }
}

/// Averages over all queries in one mode.
struct Score {
    mode: &'static str,
    bound: f64,
    ndcg_10: f64,
    recall_10: f64,
    recall_100: f64,
    reciprocal_rank_10: f64,
}

async fn measure_own_server(test: &TestCollection) -> Result<Vec<Score>> {
    let workspace = Workspace::find()?;
    let tools = set_up::set_up()?;
    components::build(&workspace, &tools.wasm)?;
    build_server(&workspace)?;
    let folder = tempfile::tempdir().context("creating a folder for the server")?;
    let mut sections = search_sections(&workspace.plugins());
    // Long enough that documents are searchable when a batch is answered, even on a busy machine.
    sections["ingest"] = json!({ "searchable_timeout_ms": 600_000 });
    let configuration =
        Configuration { listen: free_address()?, embedding: &tools.embedding, sections };
    let server = Server::start(&workspace.server_binary(), folder.path(), &configuration).await?;
    let scores = measure(&Client::new(&server.url())?, test).await?;
    server.stop().await?;
    Ok(scores)
}

async fn measure(client: &Client, test: &TestCollection) -> Result<Vec<Score>> {
    ingest(client, COLLECTION, &test.documents).await?;
    let mut scores = Vec::new();
    for (mode, bound) in MODES {
        scores.push(ask_all(client, test, mode, bound).await?);
    }
    Ok(scores)
}

async fn ask_all(
    client: &Client,
    test: &TestCollection,
    mode: &'static str,
    bound: f64,
) -> Result<Score> {
    let progress =
        Progress::items(&format!("Asking, {mode}"), test.queries.len() as u64, "queries");
    let mut sum =
        Score { mode, bound, ndcg_10: 0., recall_10: 0., recall_100: 0., reciprocal_rank_10: 0. };
    for (asked, query) in test.queries.iter().enumerate() {
        progress.set(asked as u64);
        let question = json!({
            "query": query.text, "collection": COLLECTION, "mode": mode, "limit": LIMIT,
        });
        let answer = client
            .search(&question)
            .await
            .with_context(|| format!("query {}, {mode}", query.id))?;
        let ranking: Vec<String> =
            answer.found.results.into_iter().map(|hit| hit.document_id).collect();
        let relevant = &test.relevant[&query.id];
        sum.ndcg_10 += metrics::ndcg(&ranking, relevant, 10);
        sum.recall_10 += metrics::recall(&ranking, relevant, 10);
        sum.recall_100 += metrics::recall(&ranking, relevant, 100);
        sum.reciprocal_rank_10 += metrics::reciprocal_rank(&ranking, relevant, 10);
    }
    progress.done();
    let queries = test.queries.len() as f64;
    Ok(Score {
        mode,
        bound,
        ndcg_10: sum.ndcg_10 / queries,
        recall_10: sum.recall_10 / queries,
        recall_100: sum.recall_100 / queries,
        reciprocal_rank_10: sum.reciprocal_rank_10 / queries,
    })
}

fn print_table(scores: &[Score]) {
    println!("| mode    | nDCG@10 | recall@10 | recall@100 | MRR@10 |");
    println!("|---------|---------|-----------|------------|--------|");
    for score in scores {
        println!(
            "| {:<7} | {:>7.4} | {:>9.4} | {:>10.4} | {:>6.4} |",
            score.mode, score.ndcg_10, score.recall_10, score.recall_100, score.reciprocal_rank_10
        );
    }
}
