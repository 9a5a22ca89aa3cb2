//! TLS of a listener: its certificate, and the handshakes of its connections.
//!
//! TLS 1.2 and 1.3, without certificates of clients, with HTTP/2 and HTTP/1.1. A handshake happens in the
//! connection's own task, within the connection's place and its client's share, and has a timeout:
//! whoever stalls holds up nobody else. [`pair`] reads a certificate and its key, [`follow`] notices
//! when their files change, and [`counted`] counts. Out of scope: the connection afterwards.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

mod counted;
mod expiry;
mod follow;
mod pair;
#[cfg(test)]
mod testing;

use self::counted::{Counted, Refused};
use self::follow::Follower;
pub use self::pair::PairError;
use self::pair::{Files, Pair};
use super::connection::Ended;
use crate::config;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What is read of a request without TLS, so that its client reads the answer before the connection ends.
const MAX_PLAIN_BYTES: usize = 64 << 10;
/// How long that takes at most.
const PLAIN_TIMEOUT: Duration = Duration::from_secs(1);
const PLAIN_ANSWER: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 53\r\nconnection: close\r\n\r\n\
    This port speaks TLS: begin the URL with 'https://'.\n";

/// The certificate of a listener, read from its files.
pub struct Certificate {
    follower: Follower,
    pair: Pair,
    timeout: Duration,
}

impl Certificate {
    /// Reads the files of a section; `None` if it names none.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn load(config: &config::Tls) -> Result<Option<Self>, PairError> {
        if !config.is_on() {
            return Ok(None);
        }
        let files =
            Files { certificate: config.certificate_file.clone(), key: config.key_file.clone() };
        let (follower, pair) = Follower::start(files)?;
        let timeout = Duration::from_millis(config.handshake_timeout_ms);
        Ok(Some(Self { follower, pair, timeout }))
    }
}

/// What connections of a listener get TLS with.
pub(super) struct Tls {
    listener: &'static str,
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    timeout: Duration,
    counted: Counted,
}

/// The pair that new connections get. Those that exist keep theirs.
struct Current(RwLock<Pair>);

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().key))
    }
}

impl Tls {
    /// TLS of the listener with this name, and what [`follow`](Self::follow) needs. Metrics must be installed.
    ///
    /// # Errors
    /// The program has not chosen an implementation of cryptography.
    pub(super) fn new(
        listener: &'static str,
        Certificate { follower, pair, timeout }: Certificate,
    ) -> Result<(Self, Follower), PairError> {
        let provider = CryptoProvider::get_default().ok_or(PairError::NoProvider)?;
        let counted = Counted::of(listener);
        counted.expires(pair.expires.unix_seconds());
        info!(listener, expires = %pair.expires, "speaking TLS");
        let current = Arc::new(Current(RwLock::new(pair)));
        let config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|_| PairError::NoProvider)?;
        let mut config = config
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok((Self { listener, acceptor, current, timeout, counted }, follower))
    }

    /// Takes on changed files, for as long as this is polled.
    pub(super) async fn follow(&self, mut follower: Follower) {
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            // Reading files may take long where they are on another machine.
            let look = move || {
                let found = follower.look();
                (follower, found)
            };
            let Ok((back, found)) = spawn_blocking(look).await else { return };
            follower = back;
            if let Some(found) = found {
                self.take_on(found);
            }
        }
    }

    fn take_on(&self, found: Result<Pair, PairError>) {
        let listener = self.listener;
        match found {
            Ok(pair) if pair.is(&self.current.0.read()) => {}
            Ok(pair) => {
                info!(listener, expires = %pair.expires, "the certificate was replaced");
                self.counted.expires(pair.expires.unix_seconds());
                self.counted.reloaded(true);
                *self.current.0.write() = pair;
            }
            Err(error) => {
                warn!(
                    listener,
                    "the changed certificate is not used, and the old one still is: {error}"
                );
                self.counted.reloaded(false);
            }
        }
    }

    /// Gives a new connection TLS.
    ///
    /// # Errors
    /// How the connection has ended.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Ended> {
        let shaken = timeout(self.timeout, self.shake_hands(stream)).await;
        shaken.unwrap_or(Err(Refused::TimedOut)).map_err(|why| {
            debug!(listener = self.listener, ?why, "connection without TLS");
            self.counted.refused(why);
            match why {
                Refused::Invalid => Ended::ForViolation,
                _ => Ended::Usual,
            }
        })
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, Refused> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => Err(Refused::Closed),
            // No record of TLS begins with a letter, and every usual method of HTTP does.
            Ok(_) if first[0].is_ascii_uppercase() => {
                let _ = timeout(PLAIN_TIMEOUT, explain(stream)).await;
                Err(Refused::PlainHttp)
            }
            Ok(_) => self.acceptor.accept(stream).await.map_err(|error| Refused::from(&error)),
        }
    }
}

/// Tells a client without TLS what to do. A connection that is closed while something has not been read
/// is reset, and its client may lose the answer.
async fn explain(mut stream: TcpStream) -> std::io::Result<()> {
    stream.write_all(PLAIN_ANSWER.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = [0; 4 << 10];
    let mut read = 0;
    while read < MAX_PLAIN_BYTES {
        match stream.read(&mut rest).await? {
            0 => break,
            bytes => read += bytes,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_without_tls_has_its_length() {
        let (head, body) = PLAIN_ANSWER.split_once("\r\n\r\n").unwrap_or_default();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
