//! A server process that tests configure, await, signal, kill and restart.
//!
//! Its folder contains `weir.toml`, `weir.log` and `data/`, and is deleted with it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use weir_test_redis::Certificates;

use super::client::{Answer, Client};
use super::config::Config;
use super::environment;
use super::wait::{DEADLINE, eventually};

/// How long a command may run that should end by itself.
const COMMAND_DEADLINE: Duration = Duration::from_secs(60);

/// A running server; killed when it is dropped.
pub(crate) struct Server {
    /// A client of the server, over HTTP/1.1.
    pub(crate) client: Client,
    /// The address on which it listens.
    pub(crate) address: SocketAddr,
    /// A client of its admin listener, without the token.
    pub(crate) admin: Client,
    child: Child,
    /// Kept open, so that the server can always write to it.
    _stdout: BufReader<ChildStdout>,
    folder: TempDir,
    program: Program,
    /// The authorities of its certificate, if it speaks TLS.
    authorities: Option<PathBuf>,
}

/// What a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The server that is shipped.
    Shipped,
    /// The build with faults, with this one or none (`weir_core::fault`).
    Faulty(Option<&'static str>),
    /// The same build, which dies at this point (`weir_core::crash`).
    Dying(&'static str),
}

impl Server {
    /// A server that hosts `search`.
    pub(crate) async fn start() -> Self {
        Self::with(|config| {
            config.search();
        })
        .await
    }

    /// A server with [`Config::new`] and what `configure` adds to it.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::running(Program::Shipped, configure).await
    }

    /// The same with a program.
    pub(crate) async fn running(program: Program, configure: impl FnOnce(&mut Config)) -> Self {
        Self::launch(configured(configure), program, None).await
    }

    /// A server that speaks TLS on both listeners, with this certificate.
    pub(crate) async fn secured(
        certificates: &Certificates,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = configured(|config| {
            config.tls("server", certificates).tls("admin", certificates);
            configure(config);
        });
        Self::launch(folder, Program::Shipped, Some(certificates.authority())).await
    }

    /// Starts another server on the folder of this one, which is killed if it is still running.
    pub(crate) async fn restart(mut self) -> Self {
        if self.child.id().is_some() {
            self.kill9().await;
        }
        Self::launch(self.folder, self.program, self.authorities).await
    }

    /// Starts another program on the folder of this server, which has ended.
    pub(crate) async fn replaced_by(self, program: Program) -> Self {
        Self::launch(self.folder, program, self.authorities).await
    }

    /// Gives whatever runs on the folder of this server next another configuration.
    pub(crate) fn reconfigure(&self, configure: impl FnOnce(&mut Config)) {
        write_configuration(self.folder.path(), configure);
    }

    /// Starts a program on the folder of this server, which has ended, that dies at this point
    /// before it listens.
    pub(crate) async fn dies_at_start(&self, point: &'static str) {
        let mut command = Program::Dying(point).command(&["serve", "--config"]);
        let ended = command.arg(self.folder.path().join("weir.toml")).output();
        let ended = timeout(DEADLINE, ended).await.expect("it ends").unwrap();
        assert_eq!(ended.status.signal(), Some(libc::SIGABRT), "{ended:?}");
    }

    /// Kills this server and starts another on its folder, with another configuration.
    pub(crate) async fn restart_with(mut self, configure: impl FnOnce(&mut Config)) -> Self {
        self.kill9().await;
        self.reconfigure(configure);
        Self::launch(self.folder, self.program, self.authorities).await
    }

    async fn launch(folder: TempDir, program: Program, authorities: Option<PathBuf>) -> Self {
        let log = folder.path().join("weir.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut child = program
            .command(&["serve", "--config"])
            .arg(folder.path().join("weir.toml"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let read = timeout(DEADLINE, stdout.read_line(&mut line)).await;
        let address = line.trim().strip_prefix("weir listening on ");
        let address = address.and_then(|address| address.parse().ok());
        let Some(address) = address else {
            panic!("the server did not start: {read:?}, {line:?}\n{}", log_of(folder.path()));
        };
        let mut line = String::new();
        let read = timeout(DEADLINE, stdout.read_line(&mut line)).await;
        let admin = line.trim().strip_prefix("weir admin listening on ");
        let Some(admin) = admin.and_then(|address| address.parse().ok()) else {
            panic!("there is no admin listener: {read:?}, {line:?}\n{}", log_of(folder.path()));
        };
        let client = |address| match &authorities {
            Some(authorities) => Client::trusting(address, authorities),
            None => Client::new(address),
        };
        let (client, admin) = (client(address), client(admin));
        let _stdout = stdout;
        let server = Self { client, address, admin, child, _stdout, folder, program, authorities };
        server.ready().await;
        server
    }

    async fn ready(&self) {
        eventually("the server is ready", async || {
            // The connection is not kept, so that a test starts without one.
            let request = self.client.request("GET", "/health/readiness");
            let answer = Answer::to(request.header("connection", "close")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Posts JSON to the admin listener, with the token.
    pub(crate) async fn administer(&self, path: &str, body: &Value) -> Answer {
        let request = self.admin.request("POST", &format!("/admin/v1/{path}"));
        let request = request.bearer_auth(self.admin_token());
        Answer::to(request.header("content-type", "application/json").body(body.to_string())).await
    }

    /// Where its admin listener is.
    pub(crate) fn admin_url(&self) -> String {
        self.admin.base().to_owned()
    }

    /// The administrator's token.
    pub(crate) fn admin_token(&self) -> String {
        fs::read_to_string(self.admin_token_file()).unwrap().trim().to_owned()
    }

    /// The file that has it.
    pub(crate) fn admin_token_file(&self) -> PathBuf {
        self.folder.path().join("data/admin-token")
    }

    /// The folder with its files; the data is in `data/`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its log, including the time before restarts.
    pub(crate) fn log(&self) -> String {
        log_of(self.folder.path())
    }

    /// Waits until `text` is in the log.
    pub(crate) async fn logged(&self, text: &str) {
        let what = format!("the log contains {text:?}");
        eventually(&what, async || self.log().contains(text).then_some(())).await;
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it has not ended")
    }

    /// How many files and connections its process has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    /// Tells it to drain.
    pub(crate) fn sigterm(&self) {
        let id = self.child.id().expect("it has not ended");
        // SAFETY: the call accesses no memory. The child has not been waited for, so the id still
        // belongs to it.
        let sent = unsafe { libc::kill(id.cast_signed(), libc::SIGTERM) };
        assert_eq!(sent, 0);
    }

    /// Kills it, as a crash would, and waits until it is gone.
    pub(crate) async fn kill9(&mut self) {
        self.child.start_kill().unwrap();
        let status = self.wait().await;
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
    }

    /// Makes it unable to write anything to a file beyond this many bytes from the file's beginning,
    /// as if the disk were full; or able to write again.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let id = self.child.id().expect("it has not ended").cast_signed();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the calls access nothing but `limit`. The child has not been waited for, so the
        // id still belongs to it.
        let done = unsafe {
            libc::prlimit(id, libc::RLIMIT_FSIZE, std::ptr::null(), &raw mut limit) == 0 && {
                limit.rlim_cur = bytes.unwrap_or(limit.rlim_max);
                libc::prlimit(id, libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut()) == 0
            }
        };
        assert!(done, "{}", std::io::Error::last_os_error());
    }

    /// Waits until it ends.
    pub(crate) async fn wait(&mut self) -> ExitStatus {
        let ended = timeout(DEADLINE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("the server did not end\n{}", self.log())).unwrap()
    }

    /// Starts a server that should refuse to start, and returns how it ended.
    pub(crate) async fn refused(configure: impl FnOnce(&mut Config)) -> Ended {
        let folder = configured(configure);
        weir(&["serve", "--config", folder.path().join("weir.toml").to_str().unwrap()]).await
    }
}

fn configured(configure: impl FnOnce(&mut Config)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_configuration(folder.path(), configure);
    folder
}

fn write_configuration(folder: &Path, configure: impl FnOnce(&mut Config)) {
    let mut config = Config::new(folder);
    configure(&mut config);
    fs::write(folder.join("weir.toml"), config.toml()).unwrap();
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Asserts that it failed without a panic, that stderr contains all of `texts`, and that it
    /// says nothing twice.
    #[track_caller]
    pub(crate) fn assert_refused(&self, texts: &[&str]) {
        assert!(!self.success, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for text in texts {
            assert!(self.stderr.contains(text), "no {text:?} in:\n{}", self.stderr);
        }
        let mut said = HashSet::new();
        let parts = self.stderr.split([':', '\n']).map(str::trim).filter(|part| part.len() > 24);
        for part in parts {
            assert!(said.insert(part), "{part:?} is said twice in:\n{}", self.stderr);
        }
    }
}

/// Runs `weir` to its end.
pub(crate) async fn weir(arguments: &[&str]) -> Ended {
    let output = timeout(COMMAND_DEADLINE, Program::Shipped.command(arguments).output()).await;
    let output = output.unwrap_or_else(|_| panic!("`weir {}` did not end", arguments.join(" ")));
    let output = output.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended {
        success: output.status.success(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

impl Program {
    fn command(self, arguments: &[&str]) -> Command {
        let mut command = match self {
            Self::Shipped => Command::new(environment::binary()),
            Self::Faulty(fault) => {
                let mut command = Command::new(environment::faulty_binary());
                command.envs(fault.map(|name| ("WEIR_FAULT", name)));
                command
            }
            Self::Dying(point) => {
                let mut command = Command::new(environment::faulty_binary());
                command.env("WEIR_CRASH_AT", point);
                command
            }
        };
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        // SAFETY: between fork and exec, only async-signal-safe functions may be called; this makes
        // two system calls.
        unsafe {
            command.pre_exec(|| {
                // A file that must not grow is an error to the program, as a full disk would be.
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                // A test that is killed must not leave a server behind.
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        command
    }
}

fn log_of(folder: &Path) -> String {
    let bytes = fs::read(folder.join("weir.log")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
