//! The accept loop and the drain.
//!
//! `axum::serve` sets no timeouts and no limits, so Weir has its own loop. It accepts at most
//! `server.max_connections` at once; further ones wait in the system's backlog. [`connection`]
//! serves each of them with the timeouts of [`watcher`], after a handshake if the listener speaks [`tls`]. A client
//! gets no more connections than are still free, and has to wait for new ones when it opens very many a
//! second. A drain stops accepting, lets requests in
//! flight finish, and ends after `server.drain_timeout_ms` at the latest. Out of scope: requests
//! (`http`).

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};
use weir_limits::client::Client;
use weir_limits::rates::Rates;
use weir_limits::shares::{Share, Shares};

use crate::config;
use crate::http::Service;
use crate::http::app::App;
use crate::http::unread::UNCHARGED_BYTES;

mod connection;
mod outgoing;
mod pace;
mod signals;
pub mod tls;
mod watcher;

use self::connection::Ended;
pub use self::signals::Signals;
use self::tls::{Certificate, PairError, Tls};

/// The window of an HTTP/2 stream: what may arrive of a body that nobody reads.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// The window of all streams of a connection. With the default limits, all connections together
/// can have a GiB waiting.
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
const FRAME_BYTES: u32 = 16 << 10;
/// How many streams may be reset before they are served. More end the connection.
const MAX_RESETS: usize = 20;
/// How many streams may be reset for errors of the client. More end the connection.
const MAX_ERRORS: usize = 256;
/// A connection that is ended because of what its client did counts as so many new ones.
const VIOLATION_COST: u32 = 100;
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Why listening failed.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another program already listens there.
    #[error(
        "{address} is in use by another program: choose another address with {option} (port 0 takes a \
         free one)"
    )]
    InUse {
        /// The address.
        address: String,
        /// What sets it.
        option: &'static str,
    },
    /// Any other reason.
    #[error("cannot listen on {address}: {error}; choose another with {option}")]
    Failed {
        /// The address.
        address: String,
        /// What sets it.
        option: &'static str,
        /// The operating system's reason.
        error: io::Error,
    },
}

/// Listens on `address`, which `option` sets.
///
/// # Errors
/// The address is in use, does not belong to this machine, or is not permitted.
pub async fn bind(address: &str, option: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| {
        let address = address.to_owned();
        match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address, option },
            _ => BindError::Failed { address, option, error },
        }
    })
}

/// What is to be served on an address.
pub struct Listener {
    /// What it is called in the log and in metrics.
    pub name: &'static str,
    /// The address.
    pub socket: TcpListener,
    /// What answers.
    pub service: Service,
    /// Its certificate. Without one, it does not speak TLS.
    pub certificate: Option<Certificate>,
}

/// Serves each listener of `app` until the first signal, then drains all. A second signal ends the drain at
/// once.
///
/// # Errors
/// TLS cannot be set up.
pub async fn serve(
    app: Arc<App>,
    listeners: Vec<Listener>,
    mut signals: Signals,
) -> Result<(), PairError> {
    let (mut servers, mut sockets, mut followers) = (Vec::new(), Vec::new(), Vec::new());
    for Listener { name, socket, service, certificate } in listeners {
        let tls = certificate.map(|certificate| Tls::new(name, certificate)).transpose()?;
        let (tls, follower) = tls.unzip();
        servers.push(Server::new(service, tls));
        sockets.push(socket);
        followers.push(follower);
    }
    let accepting = servers.iter().zip(sockets).map(|(server, socket)| server.accept(socket));
    let following = servers.iter().zip(followers);
    let following =
        following.filter_map(|(server, follower)| Some(server.tls.as_deref()?.follow(follower?)));
    tokio::select! {
        _ = join_all(accepting) => {}
        () = signals.next() => {}
        // Never ends before, and does nothing while there is no TLS.
        _ = async { (join_all(following).await, pending::<()>().await) } => {}
    }
    tokio::select! {
        () = drain(&app, &servers) => {}
        () = signals.next() => warn!("second signal: ending without waiting"),
    }
    Ok(())
}

/// Lets requests in flight finish, and closes what they use.
async fn drain(app: &App, servers: &[Server]) {
    let limit = Duration::from_millis(app.server.drain_timeout_ms);
    let connections = || servers.iter().map(|server| server.connections.len()).sum::<usize>();
    info!(connections = connections(), "draining");
    app.lifecycle.drain();
    for server in servers {
        server.draining.send_replace(true);
        server.connections.close();
    }
    let finished = async {
        join_all(servers.iter().map(|server| server.connections.wait())).await;
        app.lifecycle.detached.wait().await;
        app.vectors.drain().await;
        for member in app.tenants.members() {
            member.answers.drain().await;
            member.tenant.documents.close().await;
        }
        app.shared_tier.close().await;
        app.system.close().await;
    };
    match timeout(limit, finished).await {
        Ok(()) => info!("drained"),
        Err(_) => warn!(connections = connections(), "the drain timed out"),
    }
}

struct Server {
    shared: Arc<connection::Shared>,
    /// What its connections begin with.
    tls: Option<Arc<Tls>>,
    /// Becomes `true` once, when connections should finish their requests in flight.
    draining: watch::Sender<bool>,
    connections: TaskTracker,
    places: Arc<Semaphore>,
    /// The same places, divided among clients.
    clients: Shares<Client>,
    /// How many new connections a client gets a second.
    arrivals: Arc<Rates<Client>>,
}

impl Server {
    fn new(service: Service, tls: Option<Tls>) -> Self {
        let limits = &service.app().server;
        let places = Arc::new(Semaphore::new(limits.max_connections));
        let protocol = protocol(limits);
        let clients = Shares::new(limits.max_connections, 1, 0);
        let arrivals = Rates::per_second(limits.max_client_connections_per_second);
        let limits = watcher::Limits {
            head: Duration::from_millis(limits.header_timeout_ms),
            idle: Duration::from_millis(limits.idle_timeout_ms),
            write: Duration::from_millis(limits.write_timeout_ms),
            age: Duration::from_millis(limits.max_connection_age_ms),
            drain: Duration::from_millis(limits.drain_timeout_ms),
        };
        Self {
            shared: Arc::new(connection::Shared { service, protocol, limits }),
            tls: tls.map(Arc::new),
            draining: watch::Sender::new(false),
            connections: TaskTracker::new(),
            places,
            clients,
            arrivals: Arc::new(arrivals),
        }
    }

    async fn accept(&self, listener: TcpListener) {
        let mut failures = 0;
        loop {
            let Some(place) = self.place().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    failures = 0;
                    self.open(stream, Client::at(peer.ip()), place);
                }
                // The peer left before it was accepted, which is not an error.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Most likely out of file descriptors, which become free as connections close.
                    let pause = Duration::from_millis(10 << failures.min(6));
                    failures += 1;
                    warn!(%error, ?pause, "cannot accept connections");
                    sleep(pause).await;
                }
            }
        }
    }

    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        self.shared.service.app().metrics.connections_waited.increment(1);
        self.places.clone().acquire_owned().await.ok()
    }

    fn open(&self, stream: TcpStream, client: Client, place: OwnedSemaphorePermit) {
        let Some(share) = self.clients.try_take(&client, 1, 1) else {
            debug!(?client, "connection refused: the client has too many");
            self.shared.service.app().metrics.connections_refused.increment(1);
            return;
        };
        // Answers are small and complete, so waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "cannot set TCP_NODELAY");
        }
        let shared = self.shared.clone();
        let (arrivals, tls) = (self.arrivals.clone(), self.tls.clone());
        let mut draining = self.draining.subscribe();
        let wait = arrivals.take(client, 1, Instant::now());
        self.connections.spawn(async move {
            if wait > Duration::ZERO {
                shared.service.app().metrics.connections_delayed.increment(1);
                // What waits when a drain begins is served at once.
                let _ = timeout(wait, draining.wait_for(|draining| *draining)).await;
            }
            let ended = match tls {
                None => connection::drive(&shared, stream, client, draining).await,
                // Apart, so that connections without TLS are not larger for it.
                Some(tls) => Box::pin(secured(&shared, &tls, stream, client, draining)).await,
            };
            if ended == Ended::ForViolation {
                arrivals.take(client, VIOLATION_COST, Instant::now());
            }
            // The share first, so that whoever has a place finds one free.
            drop::<Share<Client>>(share);
            drop(place);
        });
    }
}

/// Serves a connection after its handshake. A drain ends one that has not had it: its client has asked
/// nothing.
async fn secured(
    shared: &Arc<connection::Shared>,
    tls: &Tls,
    stream: TcpStream,
    client: Client,
    mut draining: watch::Receiver<bool>,
) -> Ended {
    let connections = &shared.service.app().metrics.connections;
    connections.increment(1.0);
    let accepted = tokio::select! {
        accepted = tls.accept(stream) => accepted,
        _ = draining.wait_for(|draining| *draining) => Err(Ended::Usual),
    };
    connections.decrement(1.0);
    match accepted {
        Ok(stream) => connection::drive(shared, stream, client, draining).await,
        Err(ended) => ended,
    }
}

fn protocol(limits: &config::Server) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // hyper's own header timeout also closes idle connections, and needs a timer for each
    // request. `pace` does both without one.
    builder.http1().header_read_timeout(None).max_buf_size(limits.max_header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        // What a connection may send before anybody has asked for it.
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        // What hyper asks a body for before the client has read it.
        .max_send_buf_size(UNCHARGED_BYTES)
        // Streams that a client begins only to reset them, and those that break the protocol.
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS)
        // Finds peers that are gone.
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    builder
}
