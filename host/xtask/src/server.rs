//! Runs a Weir server as a child process: configures it, waits until it is ready, and stops it.
//!
//! Each server has a folder for its `weir.toml`, `weir.log` and `data/`.

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

/// A running server, killed if it is dropped without [`Server::stop`].
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
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

    /// Starts a server with `command`, which ends with the server's binary, and waits until it is
    /// ready. It listens on `listen`, whatever the configuration says.
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

    /// Runs a command that serves on `address`, and waits until it is ready.
    pub(crate) async fn run(
        mut command: Command,
        address: SocketAddr,
        log: PathBuf,
    ) -> Result<Self> {
        let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        // The usual port may be another server's.
        let admin = free_address()?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .env("WEIR_ADMIN_LISTEN", admin.to_string())
            // In its own group, so that Ctrl-C reaches only this process, which stops the server.
            .process_group(0)
            .kill_on_drop(true);
        end_with_this_process(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("starting `{}`", process::line(command.as_std())))?;
        let mut server = Self { child, address, admin, log };
        if let Err(error) = server.ready().await {
            return Err(server.explain(&error));
        }
        Ok(server)
    }

    /// `http://ADDRESS`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address that it listens on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of its admin listener.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The administrator's token, of a server whose data is where [`Configuration::toml`] says.
    pub(crate) fn admin_token(&self) -> Result<String> {
        let file = self.log.with_file_name("data").join("admin-token");
        let token = fs::read_to_string(&file);
        Ok(token.with_context(|| format!("reading {}", file.display()))?.trim().to_owned())
    }

    /// The path of its log.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Adds the last lines of the server's log to an error.
    pub(crate) fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let end = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        anyhow!("{error:#}\nThe end of {}:\n    {}", self.log.display(), end.join("\n    "))
    }

    /// Its process id; an error if it has exited.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("the server has exited")
    }

    /// Waits until the server exits unexpectedly, and returns the error.
    pub(crate) async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => self.unexpected(status),
            Err(error) => anyhow!(error).context("waiting for the server"),
        }
    }

    /// Sends SIGTERM and waits until the server has drained. A non-zero exit status is an error.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.id()?)?;
        kill(Pid::from_raw(id), Signal::SIGTERM).context("asking the server to stop")?;
        let status = timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .with_context(|| format!("the server did not stop within {STOP_TIMEOUT:?}"))??;
        ensure!(status.success(), self.unexpected(status));
        Ok(())
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/health/readiness", self.url());
        let http = crate::client::http().timeout(Duration::from_secs(2)).build()?;
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status} before it was ready");
            }
            let answer = http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the server was not ready within {READY_TIMEOUT:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn unexpected(&self, status: ExitStatus) -> anyhow::Error {
        self.explain(&anyhow!("the server ended with {status}"))
    }
}

/// The configuration of a server.
pub(crate) struct Configuration<'a> {
    pub(crate) listen: SocketAddr,
    pub(crate) embedding: &'a Embedding,
    /// `[policies]`, `[pipelines]` and whatever else differs between commands.
    pub(crate) sections: Value,
}

impl Configuration<'_> {
    /// Returns the configuration as TOML. The server keeps its data below `folder`.
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

/// The sections for a server that hosts `search` under the default policy.
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

/// Returns a loopback address with a free port.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?)
}

/// Makes the kernel send SIGTERM to the child when this process dies.
fn end_with_this_process(command: &mut Command) {
    // SAFETY: only async-signal-safe functions may be called between fork and exec, and this is a
    // single system call.
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
    async fn a_server_that_exits_at_once_is_an_error_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let embedding = Embedding { library: "a".into(), model: "b".into(), tokenizer: "c".into() };
        let configuration = Configuration {
            listen: free_address().unwrap(),
            embedding: &embedding,
            sections: json!({}),
        };
        // `cat serve --config FILE` prints an error and exits.
        let started = Server::start(Path::new("/bin/cat"), folder.path(), &configuration).await;
        let message = format!("{:#}", started.err().unwrap());
        assert!(message.contains("before it was ready"), "{message}");
        assert!(message.contains("--config"), "{message}");
    }
}
