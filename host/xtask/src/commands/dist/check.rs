//! Runs the archive as a user would on a bare machine: unpacks it into an empty folder, and starts
//! the server from another folder without environment variables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::{archive, digest_of, libraries};
use crate::client::{Answer, Client, is_cache_hit};
use crate::process;
use crate::server::{Server, free_address};

const DOCUMENT: &str = "leave.md";
const TEXT: &str = "Everyone has 30 days of leave.";

/// Fails unless the archive serves, ingests and answers on its own.
pub(super) async fn run(archive: &Path, name: &str) -> Result<()> {
    let parent = archive.parent().context("the path of the archive has no folder")?;
    let digest = digest_of(archive);
    process::run(
        std::process::Command::new("sha256sum")
            .args(["--check", "--quiet"])
            .arg(&digest)
            .current_dir(parent),
    )?;
    let machine = Machine::new(archive, name)?;
    for file in ["weir", "lib/libonnxruntime.so"] {
        libraries::check(&machine.weir.join(file))?;
    }
    let address = free_address()?;
    let mut serve = machine.weir();
    serve.args(["serve", "--listen"]).arg(address.to_string());
    serve.arg("--config").arg(machine.weir.join("weir.toml"));
    let server = Server::run(serve, address, machine.folder.path().join("weir.log")).await?;
    let used = machine.use_server(&server.url()).await;
    let used = used.map_err(|error| server.explain(&error));
    let stopped = server.stop().await;
    used.and(stopped)?;
    machine.nothing_was_left_elsewhere()?;
    println!("the unpacked server ingested a document and answered questions");
    Ok(())
}

/// Folders that simulate a machine where nothing is installed.
struct Machine {
    folder: TempDir,
    /// The unpacked folder.
    weir: PathBuf,
    home: PathBuf,
    /// The working directory of the commands, with a document in it.
    elsewhere: PathBuf,
}

impl Machine {
    fn new(archive: &Path, name: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("creating an empty folder")?;
        let [unpacked, home, elsewhere] =
            ["unpacked", "home", "elsewhere"].map(|name| folder.path().join(name));
        archive::unpack(archive, &unpacked)?;
        fs::create_dir(&home)?;
        fs::create_dir(&elsewhere)?;
        fs::write(elsewhere.join(DOCUMENT), TEXT)?;
        Ok(Self { weir: unpacked.join(name), folder, home, elsewhere })
    }

    /// Runs the unpacked binary with `HOME` as its only environment variable, not even `PATH`.
    fn weir(&self) -> Command {
        let mut command = Command::new(self.weir.join("weir"));
        command.env_clear().env("HOME", &self.home).current_dir(&self.elsewhere);
        command.kill_on_drop(true);
        command
    }

    async fn use_server(&self, url: &str) -> Result<()> {
        let mut ingest = self.weir();
        ingest.args(["ingest", DOCUMENT, "--collection", "handbook", "--url", url]);
        let status = ingest.status().await.context("starting `weir ingest`")?;
        ensure!(status.success(), "`weir ingest` ended with {status}");
        let client = Client::new(url)?;
        let question = json!({ "query": "How long is my holiday?", "collection": "handbook" });
        let first = ask(&client, &question).await?;
        ensure!(!is_cache_hit(&first.cache_status), "the first answer came from the cache");
        let second = ask(&client, &question).await?;
        ensure!(
            is_cache_hit(&second.cache_status),
            "the second answer did not come from the cache: {:?}",
            second.cache_status,
        );
        let echoed: Value = client.ask("echo", &question).await?;
        ensure!(echoed == question, "`echo` answered {echoed}");
        Ok(())
    }

    fn nothing_was_left_elsewhere(&self) -> Result<()> {
        for (folder, expected) in [(&self.home, &[][..]), (&self.elsewhere, &[DOCUMENT])] {
            let found: Vec<_> = fs::read_dir(folder)?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<_>>()?;
            ensure!(found == expected, "{} contains {found:?} afterwards", folder.display());
        }
        Ok(())
    }
}

async fn ask(client: &Client, question: &Value) -> Result<Answer> {
    let answer = client.search(question).await?;
    let found: Vec<_> = answer.found.results.iter().map(|hit| hit.text.trim()).collect();
    ensure!(found == [TEXT], "the search found {found:?}");
    Ok(answer)
}
