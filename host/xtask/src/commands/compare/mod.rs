//! `cargo xtask compare`: measures Weir next to what people use today, in one run.
//!
//! All contenders answer the same questions about the same passages of the demo's corpus, in three
//! ways: from the cache, by a search for a question that was embedded before, and by a search for a
//! new question. The contenders are Weir, the service in `python/` ([`python`] starts it), and, for
//! cached answers, `plain-axum`, which sends the bytes of Weir's answer and does nothing else.
//!
//! In each round, all measurements run once, one after the other, so that other load of the machine
//! affects all of them. [`load`] measures, and [`table`] prints medians over rounds. Revisions of
//! Weir are compared by `bench`.

mod documents;
mod load;
mod python;
mod table;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use tokio::process::{Child, Command};

use self::documents::Documents;
use self::load::{Amount, Contender};
use self::python::Python;
use self::table::Row;
use crate::commands::bench::questions::body;
use crate::commands::demo::corpus::Corpus;
use crate::commands::test::build_server;
use crate::machine;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::set_up::{self, Embedding, Tools};
use crate::workspace::Workspace;
use crate::{client, components, process};

/// A way of answering, and how it is measured.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    /// The questions that are asked.
    pub(super) questions: Questions,
    /// Requests per second for measuring latency, well below what any contender can answer.
    pub(super) rate: f64,
}

/// Which questions a case asks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Questions {
    /// This many questions, over and over. Each has been asked once before the first round.
    Known(usize),
    /// Questions that have not been asked before.
    New,
}

const CACHED: Case = Case {
    name: "cached answer",
    path: "/v1/pipelines/search",
    questions: Questions::Known(2_000),
    rate: 200.0,
};
const EMBEDDED: Case = Case {
    name: "search, question embedded before",
    path: "/v1/pipelines/search-uncached",
    questions: Questions::Known(200),
    rate: 100.0,
};
const NEW: Case = Case {
    name: "search, new question",
    path: "/v1/pipelines/search-uncached",
    questions: Questions::New,
    rate: 25.0,
};

/// Long enough that documents are searchable when a write is answered, even on a busy machine.
const SEARCHABLE_TIMEOUT_MS: u64 = 600_000;
const WARM_UP_SECONDS: f64 = 1.0;
/// How many questions are asked to compare results.
const AGREEMENT_QUESTIONS: usize = 50;

/// Compare Weir with a Python service and Redis, and with a plain HTTP server
///
/// Needs redis-server, and python3 with venv. Python packages are installed into an environment
/// below ~/.cache/weir. Prints tables of medians. CPU time is that of the whole machine without
/// the load generator's, so run nothing else at the same time.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Compare {
    /// Number of rounds; all measurements run once in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement, except for the throughput of new questions
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections for measuring throughput, each with one request in flight
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

impl Compare {
    pub(crate) async fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        components::build(&workspace, &tools.wasm)?;
        build_server(&workspace)?;
        build_plain(&workspace)?;
        let corpus = Corpus::find(&workspace.root)?;
        let folder = tempfile::tempdir().context("creating a folder for the servers")?;
        let weir = start_weir(&workspace, &tools.embedding, folder.path()).await?;
        let documents = Documents::of(&corpus, folder.path())?;
        documents.ingest(&weir).await?;
        let python = self.start_python(&workspace, &tools, &documents, folder.path()).await?;
        let of_weir =
            Contender { name: "Weir", address: weir.address(), processes: vec![weir.id()?] };
        let of_python = python.contender()?;
        for contender in [&of_weir, &of_python] {
            for case in [&CACHED, &EMBEDDED] {
                load::load(contender, case, Amount::EachOnce(0), self.connections).await?;
            }
        }
        let plain = Plain::start(&workspace, folder.path(), &weir).await?;
        machine::warn_if_busy()?;
        println!("{}", machine::description()?);
        println!(
            "{} rounds, {} s per measurement, {} connections for throughput",
            self.rounds, self.seconds, self.connections
        );
        let agreement =
            documents.agreement(&of_weir, &of_python, AGREEMENT_QUESTIONS).await? * 100.0;
        println!(
            "{}: {} passages, searched in dense mode for 10 results; {} and {} have \
             {agreement:.0} % of their results in common",
            corpus.title,
            documents.count(),
            of_weir.name,
            of_python.name,
        );
        let mut rows = [
            Row::new(&CACHED, &of_weir),
            Row::new(&CACHED, &of_python),
            Row::new(&CACHED, &plain.contender),
            Row::new(&EMBEDDED, &of_weir),
            Row::new(&EMBEDDED, &of_python),
            Row::new(&NEW, &of_weir),
            Row::new(&NEW, &of_python),
        ];
        self.measure(&mut rows).await?;
        table::print(&rows);
        python.stop().await?;
        weir.stop().await
    }

    async fn measure(&self, rows: &mut [Row<'_>]) -> Result<()> {
        // New questions have higher numbers than the known ones, and none of them is asked twice.
        let mut next_question = 1_000_000;
        for round in 0..=self.rounds {
            let seconds = if round == 0 { WARM_UP_SECONDS } else { self.seconds };
            eprintln!(
                "{}",
                if round == 0 { "Warming up …".into() } else { format!("Round {round} …") }
            );
            for row in &mut *rows {
                let amount = match row.case.questions {
                    Questions::Known(_) => Amount::Seconds(seconds),
                    Questions::New => Amount::EachOnce(next_question),
                };
                let throughput =
                    load::measure(row.contender, row.case, amount, self.connections).await?;
                next_question += load::NEW_QUESTIONS;
                let latency =
                    load::latency(row.contender, row.case, next_question, seconds).await?;
                next_question += load::NEW_QUESTIONS;
                if round > 0 {
                    row.rounds.push((throughput, latency));
                }
            }
        }
        Ok(())
    }

    async fn start_python(
        &self,
        workspace: &Workspace,
        tools: &Tools,
        documents: &Documents,
        folder: &Path,
    ) -> Result<Python> {
        let sources = workspace.root.join("host/xtask/src/commands/compare/python");
        Python::start(&sources, &tools.embedding, documents, folder).await
    }
}

async fn start_weir(workspace: &Workspace, embedding: &Embedding, folder: &Path) -> Result<Server> {
    let mut sections = search_sections(&workspace.plugins());
    let pipelines = &mut sections["pipelines"];
    // The questions name no mode, so the only mode of the Python service is the default here.
    pipelines["search"]["settings"] = json!({ "mode": "dense" });
    let mut uncached = pipelines["search"].clone();
    if let Some(uncached) = uncached.as_object_mut() {
        uncached.remove("policy");
    }
    pipelines["search-uncached"] = uncached;
    sections["ingest"] = json!({ "searchable_timeout_ms": SEARCHABLE_TIMEOUT_MS });
    let configuration = Configuration { listen: free_address()?, embedding, sections };
    Server::start(&workspace.server_binary(), &folder.join("weir"), &configuration).await
}

/// The plain server. It has nothing to drain, so it is killed when dropped.
struct Plain {
    contender: Contender,
    _child: Child,
}

impl Plain {
    /// Starts it with the current answer of Weir's cache.
    async fn start(workspace: &Workspace, folder: &Path, weir: &Server) -> Result<Self> {
        let url = format!("{}{}", weir.url(), CACHED.path);
        let request =
            crate::client::http().build()?.post(url).header("content-type", "application/json");
        let answer = request.body(body(0, None)).send().await?.error_for_status()?;
        let is_own = |name: &str| matches!(name, "date" | "content-length" | "connection");
        let headers: Vec<(String, String)> = answer
            .headers()
            .iter()
            .filter(|(name, _)| !is_own(name.as_str()))
            .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
            .collect::<Result<_>>()?;
        let answer = json!({ "headers": headers, "body": answer.text().await? });
        let file = folder.join("answers.json");
        fs::write(&file, json!({ CACHED.path: answer }).to_string())?;
        let address = free_address()?;
        let mut child = Command::new(workspace.target.join("release/plain-axum"))
            .arg(address.to_string())
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting plain-axum")?;
        client::connectable(address, &mut child).await.context("waiting for plain-axum")?;
        let processes = vec![child.id().context("plain-axum has ended")?];
        let contender = Contender { name: "plain axum, the same bytes", address, processes };
        Ok(Self { contender, _child: child })
    }
}

fn build_plain(workspace: &Workspace) -> Result<()> {
    let mut build = process::cargo();
    // Only this package: its dependencies have already been compiled, for this program.
    build.args(["build", "--release", "--package", "xtask", "--bin", "plain-axum"]);
    process::run(build.current_dir(&workspace.root))
}
