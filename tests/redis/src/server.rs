//! One server: a process on a free port, in a folder of its own.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::reply::{Reply, converse};

/// The deadline for whatever is waited for. It is generous, because a busy machine is not a failure.
const DEADLINE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Another process may take a port between it is found free and it is listened on.
const PORTS_TRIED: usize = 10;

/// A Redis server; killed when it is dropped.
pub struct RedisServer {
    child: Option<Child>,
    port: u16,
    /// The port without TLS, for the tests' own commands, if the other one has TLS.
    plain_port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    /// What the tests' own commands log in with.
    login: Vec<String>,
}

impl RedisServer {
    /// A server with Redis's defaults that stores nothing on disk.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with further arguments, such as `["--maxmemory", "2mb"]`.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        Self::running(None, |_, port| {
            let mut all = vec!["--port".to_owned(), port.to_string()];
            all.extend(arguments.iter().map(ToString::to_string));
            all
        })
    }

    /// A server on which everybody needs this password.
    #[must_use]
    pub fn with_password(password: &str) -> Self {
        let mut server = Self::start();
        server.set_password(Some(password));
        server
    }

    /// From now on, whoever connects needs this password, or none.
    pub fn set_password(&mut self, password: Option<&str>) {
        self.run(&["CONFIG", "SET", "requirepass", password.unwrap_or_default()]);
        self.login = password.iter().flat_map(|word| ["AUTH", word]).map(Into::into).collect();
    }

    /// A server whose port has TLS, with this certificate and its key, both PEM files.
    #[must_use]
    pub fn with_tls(certificate: &Path, key: &Path, authority: &Path) -> Self {
        let plain_port = free_port();
        Self::running(Some(plain_port), |_, port| {
            let [certificate, key, authority] =
                [certificate, key, authority].map(|path| path.to_str().unwrap().to_owned());
            let mut all = vec!["--port".to_owned(), plain_port.to_string()];
            all.extend(["--tls-port".to_owned(), port.to_string()]);
            all.extend(["--tls-cert-file".to_owned(), certificate]);
            all.extend(["--tls-key-file".to_owned(), key]);
            all.extend(["--tls-ca-cert-file".to_owned(), authority]);
            all.extend(["--tls-auth-clients", "no"].map(ToOwned::to_owned));
            all
        })
    }

    /// A server with the arguments that `arguments` returns for its folder and port.
    pub(crate) fn running(
        plain_port: Option<u16>,
        arguments: impl Fn(&Path, u16) -> Vec<String>,
    ) -> Self {
        for _ in 0..PORTS_TRIED {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let arguments = arguments(folder.path(), port);
            let (child, login) = (None, Vec::new());
            let plain_port = plain_port.unwrap_or(port);
            let mut server = Self { child, port, plain_port, folder, arguments, login };
            if server.launch() {
                return server;
            }
        }
        panic!("redis-server did not start on any of {PORTS_TRIED} ports");
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs a command, which Redis must not refuse.
    #[track_caller]
    pub fn run(&self, command: &[&str]) -> Reply {
        let words: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
        match self.ask(&words).unwrap_or_else(|error| panic!("{command:?}: {error}")) {
            Reply::Error(error) => panic!("{command:?}: {error}"),
            reply => reply,
        }
    }

    /// Sets a key to these bytes.
    #[track_caller]
    pub fn set(&self, key: &str, value: &[u8]) {
        let reply = self.ask(&[b"SET", key.as_bytes(), value]).unwrap();
        assert_eq!(reply, Reply::Bytes(b"OK".to_vec()));
    }

    /// The bytes under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.run(&["GET", key]) {
            Reply::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// All keys.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self.run(&["KEYS", "*"]) {
            Reply::List(keys) => keys.iter().map(Reply::text).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, command: &[&[u8]]) -> io::Result<Reply> {
        let address = (Ipv4Addr::LOCALHOST, self.plain_port).into();
        let login: Vec<_> = self.login.iter().map(|word| word.as_bytes()).collect();
        let commands = if login.is_empty() { vec![command] } else { vec![&login, command] };
        converse(address, &commands)?.pop().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Waits until `command` replies with a text for which `is` holds.
    #[track_caller]
    pub fn wait_for(&self, command: &[&str], is: impl Fn(&str) -> bool) {
        let words: Vec<_> = command.iter().map(|word| word.as_bytes()).collect();
        let started = Instant::now();
        loop {
            let reply = self.ask(&words);
            if reply.as_ref().is_ok_and(|reply| is(&reply.text())) {
                return;
            }
            assert!(started.elapsed() < DEADLINE, "{command:?} replies {reply:?}\n{}", self.log());
            sleep(POLL_INTERVAL);
        }
    }

    /// Makes it a replica of another server, and waits until it has what that one has.
    pub fn replicate(&self, primary: &Self) {
        let port = primary.port.to_string();
        // One that has just started may still be loading what it had.
        self.wait_for(&["REPLICAOF", "127.0.0.1", &port], |reply| reply.starts_with("OK"));
        self.wait_for(&["INFO", "replication"], |info| info.contains("master_link_status:up"));
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops the process, so that it answers nothing, but its connections stay.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets the process go on.
    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) {
        let id = self.child.as_ref().expect("it runs").id();
        // SAFETY: the call accesses no memory. The child has not been waited for, so the id still belongs
        // to it.
        assert_eq!(unsafe { libc::kill(id.cast_signed(), signal) }, 0);
    }

    /// Starts it again, on the same port, and empty, because nothing is stored on disk.
    pub fn start_again(&mut self) {
        self.kill();
        assert!(self.launch(), "{}", self.log());
    }

    /// Starts the process. Returns `false` if it ends instead of answering.
    fn launch(&mut self) -> bool {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("redis-server");
        // The first argument could be a configuration file, which Sentinels need.
        command.args(&self.arguments);
        if !self.arguments.iter().any(|argument| argument == "--sentinel") {
            command.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]);
            command.args(["--dir", self.folder.path().to_str().unwrap()]);
            command.args(["--repl-diskless-sync-delay", "0"]);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        // SAFETY: between fork and exec, only async-signal-safe functions may be called; this makes one
        // system call.
        unsafe {
            command.pre_exec(|| {
                // A test that is killed must not leave a server behind.
                match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            });
        }
        let child = command.spawn();
        let child = child.expect("redis-server starts: `cargo xtask setup` installs it");
        let child = self.child.insert(child);
        let address = (Ipv4Addr::LOCALHOST, self.plain_port).into();
        let started = Instant::now();
        // A password is asked for as soon as it answers at all.
        while converse(address, &[&[b"PING"]]).is_err() {
            if child.try_wait().unwrap().is_some() {
                self.child = None;
                return false;
            }
            assert!(started.elapsed() < DEADLINE, "redis-server does not answer");
            sleep(POLL_INTERVAL);
        }
        true
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port on which nobody listens now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
