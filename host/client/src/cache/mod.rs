//! `weir cache`: what the cache of a running server does and why, and what it is to forget or to learn, over
//! its admin listener.
//!
//! [`shown`] and [`stats`] write answers for people; `--json` prints them as they are. Out of scope: what is explained and
//! invalidated, which the server does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use weir_core::name::Name;

use crate::admin::{Admin, Server};
use crate::ndjson::Lines;

mod shown;
mod stats;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say what a request would be answered with now, and why.
    Explain(Explain),
    /// Have nothing served any more that was made before.
    ///
    /// Returns once that holds for all later requests. It survives restarts.
    Invalidate(Invalidate),
    /// Answer requests in advance, so that clients find the answers in the cache.
    Warm(Warm),
    /// Show how often the cache has answers, why it has none, and what is asked for most.
    Stats,
}

/// The arguments of `weir cache explain`.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The pipeline.
    #[arg(value_parser = |name: &str| Name::new(name))]
    pipeline: Name,
    /// The JSON that a client would send.
    request: String,
    /// The tenant; may be omitted if there is only one.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    tenant: Option<Name>,
    /// A header that the client would send.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A query parameter that the client would send.
    #[arg(long = "query", value_name = "NAME=VALUE")]
    query: Vec<String>,
}

/// The arguments of `weir cache invalidate`.
#[derive(Debug, clap::Args)]
pub struct Invalidate {
    /// All answers.
    #[arg(long, group = "scope")]
    everything: bool,
    /// The answers that read something of this collection.
    #[arg(long, group = "scope", value_parser = |name: &str| Name::new(name))]
    collection: Option<Name>,
    /// The answers that depend on this tag, as `weir cache explain` shows them.
    #[arg(long, group = "scope")]
    tag: Option<String>,
    /// The answer under this key, as `weir cache explain` shows it.
    #[arg(long, group = "scope")]
    key: Option<String>,
    /// The answers of this pipeline, or those whose keys begin with --part.
    #[arg(long, group = "scope", value_parser = |name: &str| Name::new(name))]
    pipeline: Option<Name>,
    /// The first parts of the keys, up to four, as `weir cache explain` shows them.
    #[arg(long = "part", value_name = "TEXT", requires = "pipeline")]
    parts: Vec<String>,
    /// Only for this tenant, not for all.
    #[arg(long, value_parser = |name: &str| Name::new(name))]
    tenant: Option<Name>,
    /// Have policies decide for how long the old answers may still be served, as after a change.
    #[arg(long)]
    soft: bool,
}

/// The arguments of `weir cache warm`.
#[derive(Debug, clap::Args)]
pub struct Warm {
    /// A file with a request in each line, such as {"pipeline":"search","body":{"query":"bread"}}, with
    /// "tenant", "headers" and "query" if needed. "-" is standard input.
    file: PathBuf,
    /// How many requests a second.
    #[arg(long, default_value_t = 10)]
    rate: u32,
}

/// Does it, and prints the result, for people or as JSON.
///
/// # Errors
/// The server cannot be reached or refuses, or something is wrong with the arguments.
pub fn run(server: &Server, command: &Command, as_json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let admin = Admin::new(server)?;
        match command {
            Command::Explain(arguments) => {
                let answer = admin.post("/admin/v1/cache/explain", arguments.body()?).await?;
                print(as_json, &answer.json().await?, shown::explanation);
            }
            Command::Invalidate(arguments) => {
                let answer =
                    admin.post("/admin/v1/cache/invalidate", arguments.body()?.to_string()).await?;
                print(as_json, &answer.json().await?, shown::invalidated);
            }
            Command::Warm(arguments) => warm(&admin, arguments, as_json).await?,
            Command::Stats => {
                print(as_json, &admin.get("/health/cache/analytics").await?, stats::shown)
            }
        }
        Ok(())
    })
}

fn print(as_json: bool, answer: &Value, shown: impl Fn(&Value) -> String) {
    if as_json {
        println!("{answer:#}");
    } else {
        print!("{}", shown(answer));
    }
}

/// What `warm` sends. The requests are sent as they are written, so that no number changes.
#[derive(Serialize)]
struct List<'a> {
    requests: Vec<&'a RawValue>,
    rate_per_second: u32,
}

/// What `explain` sends.
#[derive(Serialize)]
struct Described<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    pipeline: &'a str,
    headers: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    body: &'a RawValue,
}

/// Has the requests answered, and prints what became of each.
async fn warm(admin: &Admin, arguments: &Warm, as_json: bool) -> anyhow::Result<()> {
    let text = read(&arguments.file)?;
    let requests = requests(&text)?;
    let total = requests.len();
    let list = List { requests, rate_per_second: arguments.rate };
    let answer = admin.post("/admin/v1/cache/warm", serde_json::to_string(&list)?).await?;
    let (mut lines, mut failed) = (Lines::of(answer), None);
    while let Some(line) = lines.next().await.context("the server ended before it was done")? {
        if line["failed"].is_u64() {
            failed = line["failed"].as_u64();
        }
        match as_json {
            true => println!("{line}"),
            false => print!("{}", shown::warmed(&line, total)),
        }
    }
    let failed = failed.context("the server ended before it was done")?;
    ensure!(failed == 0, "{failed} of {total} requests were not answered");
    Ok(())
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    let read = || {
        if file.as_os_str() != "-" {
            return fs::read_to_string(file);
        }
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    };
    read().with_context(|| format!("cannot read {}", file.display()))
}

/// The requests of a file, one a line. Empty lines are skipped.
fn requests(text: &str) -> anyhow::Result<Vec<&RawValue>> {
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let request = serde_json::from_str(line);
        requests.push(request.with_context(|| format!("line {} is not JSON", number + 1))?);
    }
    Ok(requests)
}

impl Explain {
    fn body(&self) -> anyhow::Result<String> {
        let body: &RawValue = serde_json::from_str(&self.request).context(
            "the request is not JSON; quote it for the shell, such as '{\"query\":\"bread\"}'",
        )?;
        let pairs = |of: &[String], separator: char| -> anyhow::Result<BTreeMap<String, String>> {
            let pair = |text: &String| {
                let (name, value) = text
                    .split_once(separator)
                    .with_context(|| format!("'{text}' has no '{separator}'"))?;
                Ok((name.trim().to_owned(), value.trim().to_owned()))
            };
            of.iter().map(pair).collect()
        };
        let described = Described {
            tenant: self.tenant.as_ref().map(Name::as_str),
            pipeline: self.pipeline.as_str(),
            headers: pairs(&self.headers, ':')?,
            query: pairs(&self.query, '=')?,
            body,
        };
        Ok(serde_json::to_string(&described)?)
    }
}

impl Invalidate {
    fn body(&self) -> anyhow::Result<Value> {
        let what = if self.everything {
            json!("everything")
        } else if let Some(collection) = &self.collection {
            json!({ "collection": collection.as_str() })
        } else if let Some(tag) = &self.tag {
            json!({ "tag": tag })
        } else if let Some(key) = &self.key {
            json!({ "key": key })
        } else if let Some(pipeline) = &self.pipeline {
            match self.parts.is_empty() {
                true => json!({ "pipeline": pipeline.as_str() }),
                false => {
                    json!({ "prefix": { "pipeline": pipeline.as_str(), "parts": self.parts } })
                }
            }
        } else {
            anyhow::bail!(
                "say what: --everything, --collection, --tag, --key, or --pipeline, perhaps with --part"
            );
        };
        let mut body = json!({ "what": what, "soft": self.soft });
        if let Some(tenant) = &self.tenant {
            body["tenant"] = tenant.as_str().into();
        }
        Ok(body)
    }
}
