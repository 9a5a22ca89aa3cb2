//! Runs what was packed the way a user would on a bare machine: unpacked into an empty folder,
//! without environment variables, started from another folder.

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
    let parent = archive.parent().context("an archive is in a folder")?;
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
    println!("unpacked, it served, ingested and answered");
    Ok(())
}

/// Folders that simulate a machine where nothing is installed.
struct Machine {
    folder: TempDir,
    /// What was unpacked.
    weir: PathBuf,
    home: PathBuf,
    /// Where the commands run, with a document.
    elsewhere: PathBuf,
}

impl Machine {
    fn new(archive: &Path, name: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("making an empty folder")?;
        let [unpacked, home, elsewhere] =
            ["unpacked", "home", "elsewhere"].map(|name| folder.path().join(name));
        archive::unpack(archive, &unpacked)?;
        fs::create_dir(&home)?;
        fs::create_dir(&elsewhere)?;
        fs::write(elsewhere.join(DOCUMENT), TEXT)?;
        Ok(Self { weir: unpacked.join(name), folder, home, elsewhere })
    }

    /// The unpacked binary, with a home folder and no other variable, not even `PATH`.
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
            "asked again, it was not answered from the cache: {:?}",
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
            ensure!(found == expected, "{} holds {found:?} afterwards", folder.display());
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
