//! `cargo xtask bench`: what an answer costs, against a server that does nothing else.
//!
//! Each case of Weir has a floor: a plain `axum::serve` program (`plain-axum`) that sends the
//! same bytes. All cases run one after the other in each round, so that what changes on the
//! machine meanwhile hits all of them; figures are medians over rounds, differences and
//! ratios are taken within a round first. How well searches rank is `eval`'s.

mod machine;
mod sandbox;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use self::machine::CpuTime;
use self::table::{Case, Measure};
use crate::commands::bench_load::{Counted, body};
use crate::commands::test::build_server;
use crate::server::{Configuration, Server, free_address};
use crate::set_up::{self, Embedding};
use crate::workspace::Workspace;
use crate::{client, components, process};

const KEYS: usize = 100_000;
const WARM_UP_SECONDS: f64 = 1.0;

/// Under the default policy: each answer comes from the memory tier once it is there.
const CACHED: &str = "/v1/pipelines/echo";
/// The same component without a policy: an instance for each request.
const UNCACHED: &str = "/v1/pipelines/echo-uncached";

/// Measure requests a second and CPU time an answer, against a plain server
///
/// Two cases: hits of the memory tier over 100,000 keys drawn by Zipf 1.0, and an uncached
/// `echo`, a fresh instance each. Both are asked by POST with JSON bodies over kept-alive
/// connections. CPU time is all of the machine's but the load generator's: let nothing else
/// run. Then the sandbox's price: `search` as a component against the same code compiled
/// natively. Fails where an answer costs more over the plain server than it may.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Bench {
    /// Rounds; every case runs once in each
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// How long a case runs in a round
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Connections, each with one request in flight
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Print only, whatever the figures are
    #[arg(long)]
    no_bounds: bool,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let tools = set_up::set_up()?;
        components::build(&workspace, &tools.wasm)?;
        build_server(&workspace)?;
        build_plain(&workspace)?;
        machine::warn_if_busy()?;
        let folder = tempfile::tempdir().context("making a folder for the servers")?;
        let server = start_weir(&workspace, &tools.embedding, folder.path()).await?;
        let weir = Target { address: server.address(), process: server.id()? };
        eprintln!("Filling the cache with {KEYS} answers …");
        self.load(weir, CACHED, None).await?;
        let plain = Plain::start(&workspace, folder.path(), &server).await?;
        println!("{}", machine::description()?);
        println!(
            "{} rounds of {} s a case, {} connections, {KEYS} keys",
            self.rounds, self.seconds, self.connections
        );
        let mut cases = [
            Case::new("memory-tier hit", CACHED, 3.0),
            Case::new("uncached echo", UNCACHED, 100.0),
        ];
        for round in 0..=self.rounds {
            eprintln!(
                "{}",
                if round == 0 { "Warming up …".into() } else { format!("Round {round} …") }
            );
            for case in &mut cases {
                let seconds = if round == 0 { WARM_UP_SECONDS } else { self.seconds };
                let of_weir = self.load(weir, case.path, Some(seconds)).await?;
                let of_plain = self.load(plain.target, case.path, Some(seconds)).await?;
                ensure!(
                    of_weir.all_hits == (case.path == CACHED),
                    "{}: the cache answered otherwise than the case is meant to show",
                    case.name
                );
                if round > 0 {
                    case.rounds.push((of_weir, of_plain));
                }
            }
        }
        server.stop().await?;
        let within = table::print(&cases);
        eprintln!("The sandbox's price …");
        sandbox::run(&workspace, &tools.embedding)?;
        ensure!(within || self.no_bounds, "an answer costs more than it may");
        Ok(())
    }

    /// Runs the load generator once; without `seconds`, it asks each key once.
    async fn load(&self, target: Target, path: &str, seconds: Option<f64>) -> Result<Measure> {
        let mut generator = Command::new("/proc/self/exe");
        generator
            .arg("bench-load")
            .args(["--address", &target.address.to_string(), "--path", path])
            .args(["--keys", &KEYS.to_string()])
            .args(["--connections", &self.connections.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        if let Some(seconds) = seconds {
            generator.args(["--seconds", &seconds.to_string()]);
        }
        let before = CpuTime::now(target.process)?;
        let output = generator.output().await.context("starting the load generator")?;
        let spent = CpuTime::now(target.process)?.since(before);
        ensure!(output.status.success(), "loading {path} at {} failed", target.address);
        let counted: Counted =
            serde_json::from_slice(&output.stdout).context("reading what was counted")?;
        Ok(Measure::new(&counted, &spent))
    }
}

/// A server under load.
#[derive(Clone, Copy)]
struct Target {
    address: SocketAddr,
    process: u32,
}

async fn start_weir(workspace: &Workspace, embedding: &Embedding, folder: &Path) -> Result<Server> {
    let plugins = workspace.plugins();
    let echo = plugins.join("echo.wasm");
    let configuration = Configuration {
        listen: free_address()?,
        embedding,
        sections: json!({
            "policies": {
                "default": {
                    "component": plugins.join("policy-default.wasm"),
                    // Longer than the benchmark.
                    "settings": { "ttl_ms": 86_400_000 },
                },
            },
            "pipelines": {
                "echo": { "component": echo, "policy": "default" },
                "echo-uncached": { "component": echo },
            },
        }),
    };
    Server::start(&workspace.server_binary(), folder, &configuration).await
}

/// The plain server; killed when dropped, for it has nothing to drain.
struct Plain {
    target: Target,
    _child: Child,
}

impl Plain {
    /// Starts it with answers that Weir gives now.
    async fn start(workspace: &Workspace, folder: &Path, weir: &Server) -> Result<Self> {
        let mut answers = BTreeMap::new();
        for path in [CACHED, UNCACHED] {
            answers.insert(path, capture(&format!("{}{path}", weir.url())).await?);
        }
        let file = folder.join("answers.json");
        fs::write(&file, serde_json::to_string(&answers)?)?;
        let address = free_address()?;
        let mut child = Command::new(workspace.target.join("release/plain-axum"))
            .arg(address.to_string())
            .arg(&file)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting plain-axum")?;
        client::connectable(address, &mut child).await.context("waiting for plain-axum")?;
        let process = child.id().context("plain-axum has ended")?;
        Ok(Self { target: Target { address, process }, _child: child })
    }
}

/// An answer's headers, but those that a server writes by itself, and body.
async fn capture(url: &str) -> Result<Value> {
    let request = reqwest::Client::new().post(url).header("content-type", "application/json");
    let answer = request.body(body(0)).send().await?.error_for_status()?;
    let is_own = |name: &str| matches!(name, "date" | "content-length" | "connection");
    let headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !is_own(name.as_str()))
        .map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())))
        .collect::<Result<_>>()?;
    Ok(json!({ "headers": headers, "body": answer.text().await? }))
}

fn build_plain(workspace: &Workspace) -> Result<()> {
    let mut build = process::cargo();
    // By itself, because its dependencies are those of this program, compiled already.
    build.args(["build", "--release", "--package", "xtask", "--bin", "plain-axum"]);
    process::run(build.current_dir(&workspace.root))
}
