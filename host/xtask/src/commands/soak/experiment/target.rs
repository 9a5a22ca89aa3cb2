//! What an attack works with: the server's address, clients, and a tally of what it got. The tally
//! shows whether an attack was what its name says: one that only meets 404s is no attack.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Client;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client;
use crate::server::Server;
use crate::traffic::connection::connect_from;
use crate::traffic::outcome::{self, Counts};

/// A patient client: longer than a run, or a body for a pipeline, may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client of an attack waits when it could not connect.
const PAUSE: Duration = Duration::from_millis(50);

/// Where attackers connect from: the server tells clients by their addresses, and the good ones are at
/// 127.0.0.1.
pub(crate) const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The server under attack.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) http: Client,
    admin: Option<Arc<Admin>>,
    got: Arc<Mutex<Counts>>,
}

/// Its admin listener, and a token for it.
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Target {
    pub(crate) fn new(address: SocketAddr) -> Result<Self> {
        let http = client::http().timeout(TIMEOUT).local_address(Some(ATTACKER.into())).build()?;
        Ok(Self { address, http, admin: None, got: Arc::default() })
    }

    /// The same for attackers who may push plugins.
    pub(crate) fn with_token(server: &Server) -> Result<Self> {
        let admin = Admin { address: server.admin(), token: server.admin_token()? };
        Ok(Self { admin: Some(Arc::new(admin)), ..Self::new(server.address())? })
    }

    /// The admin listener.
    pub(crate) fn admin(&self) -> Result<Arc<Admin>> {
        self.admin.clone().context("these attackers have no token")
    }

    /// The URL of a path below `/v1`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/v1/{path}", self.address)
    }

    /// Notes what an attack got.
    pub(crate) fn note(&self, label: impl Into<String>) {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).add(label);
    }

    /// What the attack got so far.
    pub(crate) fn got(&self) -> Counts {
        self.got.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends JSON to a path below `/v1`, and notes the answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) {
        self.noted(self.http.post(self.url(path)).json(body)).await;
    }

    /// Sends a request, and notes the answer.
    pub(crate) async fn noted(&self, request: reqwest::RequestBuilder) {
        let outcome = outcome::send(request).await;
        self.note(outcome.label);
        if outcome.status.is_none() {
            sleep(PAUSE).await;
        }
    }

    /// Sends a request that must succeed, to prepare an attack.
    pub(crate) async fn must(&self, request: reqwest::RequestBuilder) -> Result<()> {
        let outcome = outcome::send(request).await;
        let is_success = outcome.status.is_some_and(|status| status.is_success());
        ensure!(is_success, "a request that prepares an attack got {}", outcome.label);
        Ok(())
    }

    /// Opens a connection. One that cannot be opened is noted, after a pause.
    pub(crate) async fn connect(&self) -> Option<TcpStream> {
        self.connect_to(self.address).await
    }

    /// The same to another listener.
    pub(crate) async fn connect_to(&self, address: SocketAddr) -> Option<TcpStream> {
        match connect_from(ATTACKER, address).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.note(format!("not connected: {}", error.kind()));
                sleep(PAUSE).await;
                None
            }
        }
    }

    /// Waits for the first bytes of an answer, and notes its status or that there was none.
    pub(crate) async fn note_answer(&self, stream: &mut TcpStream) {
        let mut head = [0; 1024];
        match stream.read(&mut head).await {
            Ok(count) => self.note(outcome::of_head(&head[..count])),
            Err(error) => self.note_error(&error),
        }
    }

    /// Notes how a connection ended.
    pub(crate) fn note_error(&self, error: &io::Error) {
        self.note(outcome::of_io(error));
    }

    /// Runs `client` again and again, `count` of them at the same time, until this future is dropped.
    pub(crate) async fn crowd<C, F>(self, count: usize, client: C) -> Result<()>
    where
        C: Fn(Self) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut clients = JoinSet::new();
        for _ in 0..count {
            let (target, client) = (self.clone(), client.clone());
            clients.spawn(async move {
                loop {
                    client(target.clone()).await;
                    // A client that waits for nothing would not let the others run.
                    tokio::task::yield_now().await;
                }
            });
        }
        // None ends, unless it panics.
        match clients.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }
}
