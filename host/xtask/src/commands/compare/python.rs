//! Runs the Python service of a comparison with a Redis of its own: installs its packages, prepares
//! its index, and starts and stops its processes. The service itself is in `python/service.py`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::CACHED;
use super::documents::Documents;
use super::load::Contender;
use crate::commands::bench::questions::body;
use crate::process;
use crate::server::free_address;
use crate::set_up::Embedding;
use crate::workspace::cache_folder;

/// Importing packages and loading the model takes seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Both processes and their children, killed if they are dropped without [`Python::stop`].
pub(super) struct Python {
    service: Group,
    redis: Group,
    address: SocketAddr,
}

impl Python {
    /// Installs what is missing, prepares the index and starts Redis and the service.
    pub(super) async fn start(
        sources: &Path,
        embedding: &Embedding,
        documents: &Documents,
        folder: &Path,
    ) -> Result<Self> {
        let python = environment(sources)?;
        let index = index(&python, sources, embedding, documents)?;
        let redis_address = free_address()?;
        let redis = start_redis(redis_address, folder)?;
        let address = free_address()?;
        let log = folder.join("python.log");
        let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let workers = std::thread::available_parallelism()?;
        let mut service = Command::new(&python);
        service
            .args(["-m", "uvicorn", "service:app", "--host", "127.0.0.1"])
            .args(["--port", &address.port().to_string(), "--workers", &workers.to_string()])
            .args(["--loop", "uvloop", "--http", "httptools"])
            .args(["--no-access-log", "--log-level", "warning"])
            .current_dir(sources)
            .env("MODEL", &embedding.model)
            .env("TOKENIZER", &embedding.tokenizer)
            .env("INDEX", &index)
            .env("REDIS_URL", format!("redis://{redis_address}/0"))
            // One thread per worker, because there is a worker for each core.
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("TOKENIZERS_PARALLELISM", "false")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut started = Self { service: Group::start(service)?, redis, address };
        if let Err(error) = started.ready().await {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("{error:#}\n{}", said.trim_end());
        }
        Ok(started)
    }

    /// The contender to measure: the service, its workers and Redis.
    pub(super) fn contender(&self) -> Result<Contender> {
        let mut processes = vec![self.redis.id()?];
        with_descendants(self.service.id()?, &mut processes)?;
        Ok(Contender { name: "FastAPI, Redis, NumPy", address: self.address, processes })
    }

    /// Sends SIGTERM to both, and waits until they have exited.
    pub(super) async fn stop(self) -> Result<()> {
        self.service.stop().await.context("stopping the Python service")?;
        self.redis.stop().await.context("stopping Redis")
    }

    /// Waits until the service answers.
    async fn ready(&mut self) -> Result<()> {
        let url = format!("http://{}{}", self.address, CACHED.path);
        let http = crate::client::http().build()?;
        let asking = async {
            loop {
                if let Some(status) = self.service.child.try_wait()? {
                    bail!("the Python service ended with {status}");
                }
                let request = http.post(&url).header("content-type", "application/json");
                match request.body(body(0, None)).send().await {
                    Ok(answer) => {
                        answer.error_for_status()?;
                        return Ok(());
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        timeout(READY_TIMEOUT, asking)
            .await
            .with_context(|| format!("the Python service was not ready within {READY_TIMEOUT:?}"))?
    }
}

/// Installs the pinned packages into an environment below the cache folder, unless it exists.
/// Returns the environment's interpreter.
fn environment(sources: &Path) -> Result<PathBuf> {
    let requirements = sources.join("requirements.txt");
    let digest = digest(&[&requirements])?;
    let folder = cache_folder()?.join("compare").join(format!("python-{digest}"));
    let python = folder.join("bin/python");
    // Written last, so that it exists only if everything was installed.
    let complete = folder.join("complete");
    if complete.is_file() {
        return Ok(python);
    }
    eprintln!("Installing Python packages into {} …", folder.display());
    let mut create = std::process::Command::new("python3");
    process::run(create.args(["-m", "venv", "--clear"]).arg(&folder))
        .context("`compare` needs python3 with venv (Debian: apt-get install python3-venv)")?;
    let mut install = std::process::Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--requirement"])
        .arg(&requirements);
    process::run(&mut install)?;
    fs::write(&complete, "")?;
    Ok(python)
}

/// Computes the vectors of the documents, unless they have been computed before. Returns the folder
/// with both.
fn index(
    python: &Path,
    sources: &Path,
    embedding: &Embedding,
    documents: &Documents,
) -> Result<PathBuf> {
    let (prepare, model) = (sources.join("prepare.py"), sources.join("model.py"));
    let digest = digest(&[&documents.file, &prepare, &model])?;
    let folder = cache_folder()?.join("compare").join(format!("index-{digest}"));
    if folder.join("documents.json").is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    eprintln!("Embedding {} documents for the Python service …", documents.count());
    let mut command = std::process::Command::new(python);
    command
        .arg(&prepare)
        .args([&embedding.model, &embedding.tokenizer, &documents.file, &folder])
        .env("ORT_DISABLE_TELEMETRY", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TOKENIZERS_PARALLELISM", "false");
    process::run(&mut command)?;
    Ok(folder)
}

fn start_redis(address: SocketAddr, folder: &Path) -> Result<Group> {
    let folder = folder.join("redis");
    fs::create_dir_all(&folder)?;
    let mut redis = Command::new("redis-server");
    redis
        .args(["--bind", "127.0.0.1", "--port", &address.port().to_string()])
        // It is only a cache, so nothing is written to disk.
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(&folder)
        .stdout(File::create(folder.join("redis.log"))?);
    Group::start(redis)
        .context("`compare` needs redis-server (Debian: apt-get install redis-server)")
}

/// A process and its children.
struct Group {
    child: Child,
    /// Whether the process has exited. Its id may then belong to another process.
    has_ended: bool,
}

impl Group {
    fn start(mut command: Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting `{}`", process::line(command.as_std())))?;
        Ok(Self { child, has_ended: false })
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("the process has exited")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(killpg(Pid::from_raw(i32::try_from(self.id()?)?), signal)?)
    }

    async fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .with_context(|| format!("it did not stop within {STOP_TIMEOUT:?}"))??;
        self.has_ended = true;
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.has_ended {
            // An error means that it has already exited.
            let _ = self.signal(Signal::SIGKILL);
        }
    }
}

/// Adds a process and all of its descendants.
fn with_descendants(process: u32, processes: &mut Vec<u32>) -> Result<()> {
    processes.push(process);
    let path = format!("/proc/{process}/task/{process}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    for child in children.split_whitespace() {
        with_descendants(child.parse()?, processes)?;
    }
    Ok(())
}

/// A digest of the files' contents, as 16 hex digits.
fn digest(files: &[&Path]) -> Result<String> {
    let mut hasher = Sha256::new();
    for file in files {
        let content = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        hasher.update((content.len() as u64).to_le_bytes());
        hasher.update(content);
    }
    let mut text = hex::encode(hasher.finalize());
    text.truncate(16);
    Ok(text)
}
