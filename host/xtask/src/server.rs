//! A server of Weir as a child process: configured, awaited, asked to stop, and waited for.
//!
//! Its folder holds everything that is its own: `weir.toml`, `weir.log`, `data/`.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::process;
use crate::set_up::Embedding;

/// Loading the model takes seconds; catching up after a crash can take longer.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// The server drains for at most 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
const LOG_LINES_SHOWN: usize = 30;

/// A running server; killed when dropped without [`Server::stop`].
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts `binary` with a configuration and waits until it is ready.
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        configuration: &Configuration<'_>,
    ) -> Result<Self> {
        let toml = configuration.toml(folder)?;
        Self::start_by(Command::new(binary), folder, &toml, configuration.listen).await
    }

    /// Starts it by `command`, which ends with the server's binary, and waits until it is ready.
    /// It listens at `listen`, whatever the configuration says.
    pub(crate) async fn start_by(
        mut command: Command,
        folder: &Path,
        toml: &str,
        listen: SocketAddr,
    ) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let file = folder.join("weir.toml");
        fs::write(&file, toml).with_context(|| format!("writing {}", file.display()))?;
        command.args(["serve", "--config"]).arg(&file).args(["--listen", &listen.to_string()]);
        Self::run(command, listen, folder.join("weir.log")).await
    }

    /// Runs a command that serves at `address`, and waits until it is ready.
    pub(crate) async fn run(
        mut command: Command,
        address: SocketAddr,
        log: PathBuf,
    ) -> Result<Self> {
        let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // A group of its own: Ctrl-C reaches this process only, which then asks for a drain.
            .process_group(0)
            .kill_on_drop(true);
        end_with_this_process(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("starting `{}`", process::line(command.as_std())))?;
        let mut server = Self { child, address, log };
        if let Err(error) = server.ready().await {
            return Err(server.explain(&error));
        }
        Ok(server)
    }

    /// `http://ADDRESS`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its log is.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The error, followed by the last lines of the server's log.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        anyhow!("{error:#}\nThe end of {}:\n    {}", self.log.display(), end.join("\n    "))
    }

    /// Its process id, while it runs.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => self.unexpected(status),
            Err(error) => anyhow!(error).context("waiting for the server"),
        }
    }

    /// SIGTERM, and its drain awaited. An exit status other than 0 is an error.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.id()?)?;
        kill(Pid::from_raw(id), Signal::SIGTERM).context("asking the server to stop")?;
        let status = timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .with_context(|| format!("the server did not stop in {STOP_TIMEOUT:?}"))??;
        ensure!(status.success(), self.unexpected(status));
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/health/readiness", self.url());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status} before it was ready");
            }
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server was not ready in {READY_TIMEOUT:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn unexpected(&self, status: ExitStatus) -> anyhow::Error {
        self.explain(&anyhow!("the server ended with {status}"))
    }
}

/// What a server is told.
pub(crate) struct Configuration<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) embedding: &'a Embedding,
    /// `[policies]`, `[pipelines]` and what else differs between commands.
    pub(crate) sections: Value,
}

impl Configuration<'_> {
    /// As the server's file; its data is kept below `folder`.
    pub(crate) fn toml(&self, folder: &Path) -> Result<String> {
        let mut configuration = json!({
            "server": { "listen": self.listen },
            "data": { "folder": folder.join("data") },
            "embedding": {
                "library": self.embedding.library,
                "models": {
                    "all-MiniLM-L6-v2": {
                        "model": self.embedding.model,
                        "tokenizer": self.embedding.tokenizer,
                    },
                },
            },
        });
        if let (Value::Object(whole), Value::Object(sections)) =
            (&mut configuration, self.sections.clone())
        {
            whole.extend(sections);
        }
        toml::to_string(&configuration).context("writing the server's configuration")
    }
}

/// The sections of a server that hosts `search` under the default policy.
pub(crate) fn search_sections(plugins: &Path) -> Value {
    json!({
        "policies": {
            "default": { "component": plugins.join("policy-default.wasm") },
        },
        "pipelines": {
            "search": {
                "component": plugins.join("search.wasm"),
                "policy": "default",
                "grants": {
                    "embedding": {},
                    "collections": { "read": ["*"] },
                    "settings": true,
                },
            },
        },
    })
}

/// An address of this machine that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?)
}

/// The kernel asks the child to stop when this process is killed.
fn end_with_this_process(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe functions may be called; this
    // is one system call.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn configuration_is_toml_with_absolute_paths() {
        let embedding = Embedding {
            library: "/cache/lib.so".into(),
            model: "/cache/model.onnx".into(),
            tokenizer: "/cache/tokenizer.json".into(),
        };
        let configuration = Configuration {
            listen: "127.0.0.1:8080".parse().unwrap(),
            embedding: &embedding,
            sections: search_sections(Path::new("/plug \"ins\"")),
        };
        let toml: toml::Table = configuration.toml(Path::new("/w/.weir")).unwrap().parse().unwrap();
        assert_eq!(toml["server"]["listen"].as_str(), Some("127.0.0.1:8080"));
        assert_eq!(toml["data"]["folder"].as_str(), Some("/w/.weir/data"));
        let search = &toml["pipelines"]["search"];
        assert_eq!(search["component"].as_str(), Some("/plug \"ins\"/search.wasm"));
        assert_eq!(search["grants"]["collections"]["read"][0].as_str(), Some("*"));
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_an_error_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let embedding = Embedding { library: "a".into(), model: "b".into(), tokenizer: "c".into() };
        let configuration = Configuration {
            listen: free_address().unwrap(),
            embedding: &embedding,
            sections: json!({}),
        };
        // `cat serve --config FILE` prints an error and ends.
        let started = Server::start(Path::new("/bin/cat"), folder.path(), &configuration).await;
        let message = format!("{:#}", started.err().unwrap());
        assert!(message.contains("before it was ready"), "{message}");
        assert!(message.contains("--config"), "{message}");
    }
}
