//! The accept loop and the drain.
//!
//! `axum::serve` sets no timeouts and no limits, so Weir has its own loop. It accepts at most
//! `server.max_connections` at once; further ones wait in the system's backlog. [`connection`]
//! serves each of them with the timeouts of [`pace`]. A drain stops accepting, lets requests in
//! flight finish, and ends after `server.drain_timeout_ms` at the latest. Out of scope: requests
//! (`http`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config;
use crate::http::Service;

mod connection;
mod pace;
mod signals;

pub use signals::Signals;

/// Why listening failed.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another program already listens there.
    #[error(
        "{0} is in use by another program: choose another address with --listen or \
         server.listen (port 0 takes a free one)"
    )]
    InUse(String),
    /// Any other reason.
    #[error("cannot listen on {address}: {error}; choose another with --listen or server.listen")]
    Failed {
        /// The address.
        address: String,
        /// The operating system's reason.
        error: io::Error,
    },
}

/// Listens on `address`.
///
/// # Errors
/// The address is in use, does not belong to this machine, or is not permitted.
pub async fn bind(address: &str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|error| {
        let address = address.to_owned();
        match error.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Failed { address, error },
        }
    })
}

/// Serves `listener` until the first signal, then drains. A second signal ends the drain at
/// once.
pub async fn serve(listener: TcpListener, service: Service, mut signals: Signals) {
    let server = Server::new(service);
    tokio::select! {
        () = server.accept(listener) => {}
        () = signals.next() => {}
    }
    tokio::select! {
        () = server.drain() => {}
        () = signals.next() => warn!("second signal: ending without waiting"),
    }
}

struct Server {
    shared: Arc<connection::Shared>,
    /// Becomes `true` once, when connections should finish their requests in flight.
    draining: watch::Sender<bool>,
    connections: TaskTracker,
    places: Arc<Semaphore>,
}

impl Server {
    fn new(service: Service) -> Self {
        let limits = &service.app().server;
        let places = Arc::new(Semaphore::new(limits.max_connections));
        let protocol = protocol(limits);
        let pace = pace::Limits {
            head: Duration::from_millis(limits.header_timeout_ms),
            idle: Duration::from_millis(limits.idle_timeout_ms),
        };
        Self {
            shared: Arc::new(connection::Shared { service, protocol, pace }),
            draining: watch::Sender::new(false),
            connections: TaskTracker::new(),
            places,
        }
    }

    async fn accept(&self, listener: TcpListener) {
        let mut failures = 0;
        loop {
            let Some(place) = self.place().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    failures = 0;
                    self.open(stream, place);
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

    fn open(&self, stream: TcpStream, place: OwnedSemaphorePermit) {
        // Answers are small and complete, so waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            warn!(%error, "cannot set TCP_NODELAY");
        }
        let shared = self.shared.clone();
        let draining = self.draining.subscribe();
        self.connections.spawn(async move {
            connection::drive(&shared, stream, draining).await;
            drop(place);
        });
    }

    async fn drain(&self) {
        let app = self.shared.service.app();
        let limit = Duration::from_millis(app.server.drain_timeout_ms);
        info!(connections = self.connections.len(), "draining");
        app.lifecycle.drain();
        self.draining.send_replace(true);
        self.connections.close();
        let finished = async {
            self.connections.wait().await;
            app.lifecycle.detached.wait().await;
            for tenant in app.tenants.iter() {
                tenant.documents.close().await;
            }
            app.system.close().await;
        };
        match timeout(limit, finished).await {
            Ok(()) => info!("drained"),
            Err(_) => warn!(connections = self.connections.len(), "the drain timed out"),
        }
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
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX));
    builder
}
