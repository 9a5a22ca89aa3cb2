//! Clients that cost little: kept-alive connections from some addresses, on which requests that have
//! been made before are sent as bytes.
//!
//! A client that does not get an answer in [`PATIENCE`] leaves, as people do. So many connections are
//! enough for a server that refuses what it cannot answer. If all of them are in use, a request waits
//! for one, and its time goes on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::cache_status::CacheStatus;
use super::connection::{Connection, connect_from};
use super::outcome::{self, Outcome};

/// How long a client waits for its answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection is kept without a request: less than the server keeps it.
const IDLE: Duration = Duration::from_secs(20);
/// The most connections from one address. Four times as many are less than the server allows.
const CONNECTIONS: usize = 512;

/// Clients at some addresses of this machine.
pub(crate) struct Clients {
    server: SocketAddr,
    from: Vec<Ipv4Addr>,
    /// How many connections have been opened.
    opened: AtomicUsize,
    places: Semaphore,
    /// Connections without a request, and since when.
    idle: Mutex<Vec<(Instant, Connection)>>,
}

impl Clients {
    pub(crate) fn new(server: SocketAddr, from: &[Ipv4Addr]) -> Self {
        Self {
            server,
            from: from.to_vec(),
            opened: AtomicUsize::new(0),
            places: Semaphore::new(CONNECTIONS * from.len()),
            idle: Mutex::default(),
        }
    }

    /// Sends a request, head and body, and waits for its answer, at most for `patience`.
    pub(crate) async fn ask(&self, request: &str, patience: Duration) -> Outcome {
        let without_answer = |label: &str| Outcome {
            status: None,
            label: label.to_owned(),
            cache: CacheStatus::Absent,
        };
        match timeout(patience, self.exchange(request)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => match error.downcast_ref() {
                Some(error) => without_answer(&outcome::of_io(error)),
                None => without_answer(&format!("{error:#}")),
            },
            Err(_) => without_answer("timed out"),
        }
    }

    async fn exchange(&self, request: &str) -> Result<Outcome> {
        let _place = self.places.acquire().await?;
        let mut connection = match self.idle() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = connection.exchange(request.as_bytes()).await?;
        let (head, status) = (answer.head, StatusCode::from_u16(answer.head.status)?);
        let label = outcome::label(status, answer.body);
        if !head.is_last {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((Instant::now(), connection));
        }
        Ok(Outcome { status: Some(status), label, cache: head.cache })
    }

    /// The connection that was used last. If that was too long ago, all of them are dropped.
    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, connection) = idle.pop()?;
        if since.elapsed() < IDLE {
            return Some(connection);
        }
        idle.clear();
        None
    }

    async fn connect(&self) -> Result<Connection> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let from = self.from[number % self.from.len()];
        Connection::on(connect_from(from, self.server).await?)
    }
}

/// Lets this process and the server have as many connections as the system allows.
pub(crate) fn allow_connections() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of open files")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    const REFUSED: &str = "HTTP/1.1 503 x\r\ncontent-length: 21\r\nconnection: close\r\n\r\n\
                           {\"code\":\"overloaded\"}";

    /// Answers a request on a connection with each of the texts.
    async fn serve(listener: &TcpListener, answers: &[&str]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            assert!(stream.read(&mut [0; 64]).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn connections_are_kept_until_the_server_ends_them() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let clients = Clients::new(listener.local_addr().unwrap(), &[Ipv4Addr::LOCALHOST]);
        let server = async {
            serve(&listener, &[OK, REFUSED]).await;
            serve(&listener, &[OK, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"]).await;
        };
        let client = async {
            let mut labels = Vec::new();
            for _ in 0..4 {
                labels.push(clients.ask("a request", PATIENCE).await.label);
            }
            labels
        };
        let (labels, ()) = tokio::join!(client, server);
        assert_eq!(labels, ["200", "503 overloaded", "200", "an answer was truncated"]);
        assert_eq!(clients.opened.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_client_loses_its_patience() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let clients = Clients::new(listener.local_addr().unwrap(), &[Ipv4Addr::LOCALHOST]);
        let outcome = clients.ask("a request", Duration::from_millis(10)).await;
        assert_eq!((outcome.status, outcome.label.as_str()), (None, "timed out"));
    }
}
