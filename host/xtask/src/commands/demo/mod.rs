//! `cargo xtask demo`: gets from a checkout to answers about a real corpus in one command.
//!
//! `corpus` finds the documents. The server is the release binary, and all requests go over HTTP.

pub(crate) mod corpus;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::corpus::Corpus;
use crate::client::{Answer, Client, is_cache_hit};
use crate::commands::test::build_server;
use crate::components;
use crate::interrupt::Interrupt;
use crate::server::{Configuration, Server, free_address, search_sections};
use crate::set_up;
use crate::workspace::Workspace;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const LIMIT: usize = 3;
const EXCERPT_CHARACTERS: usize = 160;

/// Set up, build, serve, ingest the Rust book and ask it three questions
///
/// Serves until Ctrl-C. The server's data, configuration and log stay in .weir/ of the checkout,
/// so the next demo does not have to ingest anything.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Demo {
    /// The address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value_t = DEFAULT_LISTEN)]
    listen: SocketAddr,
    /// Exit after the questions; uses a free port and a temporary folder
    #[arg(long, conflicts_with = "listen")]
    once: bool,
}

impl Demo {
    /// `--once`.
    pub(crate) fn once() -> Self {
        Self { listen: DEFAULT_LISTEN, once: true }
    }

    pub(crate) async fn run(self) -> Result<()> {
        let workspace = Workspace::find()?;
        let listen = if self.once { free_address()? } else { available(self.listen)? };
        let tools = set_up::set_up()?;
        components::build(&workspace, &tools.wasm)?;
        build_server(&workspace)?;
        let corpus = Corpus::find(&workspace.root)?;
        let folder = Folder::new(&workspace, self.once)?;
        let configuration = Configuration {
            listen,
            embedding: &tools.embedding,
            sections: search_sections(&workspace.plugins()),
        };
        let mut interrupt = Interrupt::new()?;
        let binary = workspace.server_binary();
        let mut server = tokio::select! {
            server = Server::start(&binary, folder.path(), &configuration) => server?,
            () = interrupt.received() => return Ok(()),
        };
        let url = server.url();
        let shown = tokio::select! {
            shown = show(&url, &binary, folder.path(), &corpus) => shown,
            error = server.ended() => return Err(error),
            () = interrupt.received() => return server.stop().await,
        };
        if self.once || shown.is_err() {
            let shown = shown.map_err(|error| server.explain(&error));
            let stopped = server.stop().await;
            return shown.and(stopped);
        }
        print_commands(&server, &corpus);
        println!("Weir is serving");
        tokio::select! {
            error = server.ended() => Err(error),
            () = interrupt.received() => server.stop().await,
        }
    }
}

/// Ingests the corpus if it has not been ingested yet, and asks the questions.
async fn show(url: &str, binary: &Path, folder: &Path, corpus: &Corpus) -> Result<()> {
    let client = Client::new(url)?;
    ingest_once(&client, url, binary, folder, corpus).await?;
    let mut first = None;
    for question in corpus.questions {
        let answer = client.search(&request(question, corpus)).await?;
        print_answer(question, &answer);
        ensure!(!answer.found.results.is_empty(), "nothing was found for {question:?}");
        first.get_or_insert(answer.found.results.len());
    }
    let again = corpus.questions[0];
    let answer = client.search(&request(again, corpus)).await?;
    println!("\nThe first question again: {}", origin(&answer));
    ensure!(
        Some(answer.found.results.len()) == first,
        "asked again, the first question found something else"
    );
    ensure!(
        is_cache_hit(&answer.cache_status),
        "asked again, the first question was not answered from the cache: {:?}",
        answer.cache_status
    );
    Ok(())
}

async fn ingest_once(
    client: &Client,
    url: &str,
    binary: &Path,
    folder: &Path,
    corpus: &Corpus,
) -> Result<()> {
    let digest = corpus.digest()?;
    // Written after a complete ingest. The data may have been removed since then.
    let ingested = folder.join(format!("{}.sha256", corpus.collection));
    let is_known = fs::read_to_string(&ingested).is_ok_and(|known| known == digest);
    if is_known && client.has_collection(corpus.collection).await? {
        println!("{} is already in the collection {}", corpus.title, corpus.collection);
        return Ok(());
    }
    println!("Ingesting {}: {} pages", corpus.title, corpus.files.len());
    let status = tokio::process::Command::new(binary)
        .arg("ingest")
        .args(&corpus.files)
        .args(["--collection", corpus.collection, "--url", url])
        // Documents are named by their paths, which are short here.
        .current_dir(&corpus.folder)
        // In its own process group, so that Ctrl-C reaches only this process, which then kills it.
        .process_group(0)
        .kill_on_drop(true)
        .status()
        .await
        .with_context(|| format!("starting {}", binary.display()))?;
    ensure!(status.success(), "`weir ingest` ended with {status}");
    fs::write(&ingested, digest).with_context(|| format!("writing {}", ingested.display()))
}

fn request(question: &str, corpus: &Corpus) -> Value {
    json!({ "query": question, "collection": corpus.collection, "limit": LIMIT })
}

fn print_answer(question: &str, answer: &Answer) {
    println!("\n{question}\n  {}", origin(answer));
    for hit in &answer.found.results {
        println!("  {:.3}  {}", hit.score, hit.document_id);
        println!("         {}", excerpt(&hit.text));
    }
}

/// How long an answer took, and whether it came from the cache.
fn origin(answer: &Answer) -> String {
    format!("{} · {}", answer.response_time, answer.cache_status)
}

/// The beginning of a text, on one line.
fn excerpt(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(EXCERPT_CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn print_commands(server: &Server, corpus: &Corpus) {
    let url = server.url();
    let question = request("How do I handle errors?", corpus);
    let keyword =
        json!({ "query": "lifetime", "collection": corpus.collection, "mode": "keyword" });
    println!(
        "\nAsk more questions:\n  \
         curl -s {url}/v1/pipelines/search -H 'content-type: application/json' \\\n    \
         -d '{question}'\n  \
         curl -si {url}/v1/pipelines/search -H 'content-type: application/json' \\\n    \
         -d '{keyword}'\n\
         The server's log: {log}\n\
         Press Ctrl-C to stop the server.",
        log = server.log().display(),
    );
}

/// Refuses an address that is in use, before anything is built.
fn available(listen: SocketAddr) -> Result<SocketAddr> {
    match TcpListener::bind(listen) {
        Ok(_) => Ok(listen),
        Err(error) => bail!(
            "cannot listen on {listen} ({error}); choose another address: \
             cargo xtask demo --listen 127.0.0.1:8090"
        ),
    }
}

/// The folder of the server: kept in the checkout, or removed when this process exits.
enum Folder {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn new(workspace: &Workspace, temporary: bool) -> Result<Self> {
        if temporary {
            let folder = tempfile::tempdir().context("making a folder for the server")?;
            return Ok(Self::Temporary(folder));
        }
        Ok(Self::Kept(workspace.root.join(".weir")))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn an_excerpt_is_one_line_cut_between_characters() {
        assert_eq!(excerpt("  a \n\n b\t"), "a b");
        let long = "ü".repeat(EXCERPT_CHARACTERS + 1);
        assert_eq!(excerpt(&long), format!("{}…", "ü".repeat(EXCERPT_CHARACTERS)));
        let fits = "ü".repeat(EXCERPT_CHARACTERS);
        assert_eq!(excerpt(&fits), fits);
    }

    #[test]
    fn the_error_for_a_port_in_use_says_how_to_choose_another() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let refused = available(listener.local_addr().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("--listen"), "{refused}");
    }
}
