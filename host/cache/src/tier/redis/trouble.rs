//! What is wrong with a Redis, how to mend it, and the log of that.
//!
//! A Redis that is gone fails every command and every attempt to connect, so each kind of trouble is
//! logged once in a while, with the number of times. Out of scope: who is told that a call failed.

use std::time::{Duration, Instant};

use fred::error::{Error, ErrorKind};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::tier::StoreError;

/// How often each kind of trouble is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(30);

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is no connection.
    Unreachable,
    /// A command was not answered in time.
    Unanswered,
    /// The certificate is not trusted, or the other side does not speak TLS.
    Tls,
    /// The user, the password or the user's rights are not enough.
    Denied,
    /// Writes are refused by a replica.
    ReadOnly,
    /// Writes are refused, because its memory is full.
    OutOfMemory,
    /// Writes are refused for another reason.
    NoWrites,
    /// A key has a value of another type.
    OtherType,
    /// It is not the Cluster that it should be, or the Cluster does not work.
    Cluster,
    /// The Sentinels do not know a primary.
    Sentinel,
    /// It is starting, or waits for its primary.
    Starting,
    /// More commands wait than may.
    Crowded,
    /// Anything else.
    Other,
}

const KINDS: usize = Trouble::Other as usize + 1;

impl Trouble {
    pub(super) fn of(error: &Error) -> Self {
        let details = error.details();
        match details.split_whitespace().next().unwrap_or_default() {
            "NOAUTH" | "WRONGPASS" | "NOPERM" => return Self::Denied,
            "READONLY" => return Self::ReadOnly,
            "OOM" => return Self::OutOfMemory,
            "MISCONF" | "NOREPLICAS" => return Self::NoWrites,
            "WRONGTYPE" => return Self::OtherType,
            "MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" => return Self::Cluster,
            "LOADING" | "MASTERDOWN" | "BUSY" => return Self::Starting,
            _ => {}
        }
        let is_tls = ["InvalidCertificate", "InvalidMessage", "AlertReceived", "CorruptMessage"];
        match error.kind() {
            _ if is_tls.iter().any(|part| details.contains(part)) => Self::Tls,
            ErrorKind::Tls => Self::Tls,
            ErrorKind::Auth => Self::Denied,
            ErrorKind::Timeout => Self::Unanswered,
            ErrorKind::IO | ErrorKind::Canceled => Self::Unreachable,
            // Of calls on connections that have been given up, or have ended.
            _ if ["channel closed", "Client is not initialized."].contains(&details) => {
                Self::Unreachable
            }
            ErrorKind::Cluster => Self::Cluster,
            ErrorKind::Config if details.contains("cluster support disabled") => Self::Cluster,
            ErrorKind::Sentinel => Self::Sentinel,
            ErrorKind::Backpressure => Self::Crowded,
            _ => Self::Other,
        }
    }

    /// The error of a call.
    pub(super) fn error(self, error: &Error) -> StoreError {
        let text = format!("Redis: {error}");
        match self {
            Self::Unanswered => StoreError::TimedOut(text),
            // Whatever else is asked may work.
            Self::ReadOnly | Self::OutOfMemory | Self::NoWrites | Self::OtherType => {
                StoreError::Refused(text)
            }
            _ => StoreError::Unavailable(text),
        }
    }

    /// What an operator does about it.
    fn mend(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "Redis cannot be reached, so the shared tier finds nothing: start it, or correct \
                 cache.shared.redis.servers; it is tried again"
            }
            Self::Unanswered => {
                "Redis does not answer in time: see whether it is overloaded or stopped, or raise \
                 cache.shared.redis.command_timeout_ms"
            }
            Self::Tls => {
                "no TLS to Redis: see whether cache.shared.redis.tls is right for its port, and \
                 whether cache.shared.redis.ca_file has the authority of its certificate, which must \
                 name the host as cache.shared.redis.servers does"
            }
            Self::Denied => {
                "Redis refuses the user: correct cache.shared.redis.user and the password in \
                 cache.shared.redis.password_file and restart, or let the user run GETRANGE, SET and PING \
                 on keys with cache.shared.redis.key_prefix"
            }
            Self::ReadOnly => {
                "Redis is a read-only replica, so nothing new is stored: name the primary in \
                 cache.shared.redis.servers, or use its Sentinels"
            }
            Self::OutOfMemory => {
                "Redis is full and evicts nothing, so nothing new is stored: set its maxmemory-policy \
                 to allkeys-lru, or raise its maxmemory"
            }
            Self::NoWrites => {
                "Redis refuses writes, so nothing new is stored: its own log says what it lacks"
            }
            Self::OtherType => {
                "a key of Weir has a value of another type in Redis: set cache.shared.redis.key_prefix to \
                 one that nobody else uses"
            }
            Self::Cluster => {
                "Redis does not answer as the Cluster that it should be: see CLUSTER INFO at its nodes, \
                 and whether cache.shared.redis.topology is right"
            }
            Self::Sentinel => {
                "the Sentinels know no primary: see whether cache.shared.redis.sentinel_primary is its \
                 name there, and the user and password for the Sentinels"
            }
            Self::Starting => "Redis is still loading its data, or waits for its primary",
            Self::Crowded => {
                "Redis is slower than answers are stored and looked up: raise \
                 cache.shared.redis.connections or max_queued_commands"
            }
            Self::Other => "Redis, or the connection to it, fails",
        }
    }
}

/// How the last attempt to connect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    NotYet,
    Failed,
    Connected,
}

/// The log of one Redis.
pub(super) struct TroubleLog {
    /// Its servers, as configured.
    servers: String,
    logged: Mutex<[Option<Logged>; KINDS]>,
    tried: watch::Sender<Tried>,
}

#[derive(Clone, Copy)]
struct Logged {
    at: Instant,
    /// How often it happened since.
    unlogged: u64,
}

impl TroubleLog {
    pub(super) fn new(servers: String) -> Self {
        Self {
            servers,
            logged: Mutex::new([None; KINDS]),
            tried: watch::Sender::new(Tried::NotYet),
        }
    }

    /// Notes an error.
    pub(super) fn note(&self, error: &Error) {
        let trouble = Trouble::of(error);
        let repeated = self.due(trouble, Instant::now());
        if let Some(repeated) = repeated {
            warn!(servers = self.servers, %error, repeated, "{}", trouble.mend());
        }
    }

    /// Notes that a connection has ended, or an attempt to connect has failed.
    pub(super) fn note_unconnected(&self, error: &Error) {
        self.note(error);
        self.tried.send_replace(Tried::Failed);
    }

    /// Notes that there is a connection to this server.
    pub(super) fn note_connected(&self, server: &str) {
        if self.tried.send_replace(Tried::Connected) != Tried::Connected {
            info!(server, "the shared tier is connected to Redis");
        }
    }

    /// Waits until the first attempt to connect has worked or failed.
    pub(super) async fn tried(&self) {
        // The sender lives as long as `self`.
        let _ = self.tried.subscribe().wait_for(|tried| *tried != Tried::NotYet).await;
    }

    /// How often it happened since it was logged last, if it is to be logged now.
    fn due(&self, trouble: Trouble, now: Instant) -> Option<u64> {
        let logged = &mut self.logged.lock()[trouble as usize];
        match logged {
            Some(Logged { at, unlogged }) if now.duration_since(*at) < LOGGED_EVERY => {
                *unlogged += 1;
                None
            }
            _ => {
                let unlogged = logged.map_or(0, |logged| logged.unlogged);
                *logged = Some(Logged { at: now, unlogged: 0 });
                Some(unlogged)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_and_the_client_say_what_is_wrong() {
        let said = |kind, text: &'static str| Trouble::of(&Error::new(kind, text));
        for (kind, text, expected) in [
            (ErrorKind::Auth, "WRONGPASS invalid username-password pair", Trouble::Denied),
            (ErrorKind::Auth, "NOAUTH Authentication required.", Trouble::Denied),
            (ErrorKind::Unknown, "NOPERM this user has no permissions", Trouble::Denied),
            (ErrorKind::Unknown, "READONLY You can't write against", Trouble::ReadOnly),
            (ErrorKind::Unknown, "OOM command not allowed", Trouble::OutOfMemory),
            (ErrorKind::Unknown, "MISCONF Redis is configured to save", Trouble::NoWrites),
            (ErrorKind::InvalidArgument, "WRONGTYPE Operation against", Trouble::OtherType),
            (ErrorKind::Cluster, "MOVED 1234 127.0.0.1:7000", Trouble::Cluster),
            (ErrorKind::Cluster, "CLUSTERDOWN The cluster is down", Trouble::Cluster),
            (ErrorKind::Unknown, "LOADING Redis is loading", Trouble::Starting),
            (ErrorKind::Timeout, "Request timed out.", Trouble::Unanswered),
            (ErrorKind::IO, "Connection refused", Trouble::Unreachable),
            (ErrorKind::Canceled, "Canceled.", Trouble::Unreachable),
            (ErrorKind::Unknown, "channel closed", Trouble::Unreachable),
            (ErrorKind::IO, "InvalidCertificate(UnknownIssuer)", Trouble::Tls),
            (ErrorKind::Sentinel, "Failed to read", Trouble::Sentinel),
            (ErrorKind::Backpressure, "Max in-flight", Trouble::Crowded),
            (ErrorKind::Unknown, "ERR no such thing", Trouble::Other),
        ] {
            assert_eq!(said(kind, text), expected, "{text}");
        }
    }

    #[test]
    fn each_kind_is_logged_once_in_a_while() {
        let log = TroubleLog::new(String::new());
        let start = Instant::now();
        assert_eq!(log.due(Trouble::Denied, start), Some(0));
        for _ in 0..5 {
            assert_eq!(log.due(Trouble::Denied, start + LOGGED_EVERY / 2), None);
        }
        assert_eq!(log.due(Trouble::Tls, start), Some(0));
        assert_eq!(log.due(Trouble::Denied, start + LOGGED_EVERY), Some(5));
        assert_eq!(log.due(Trouble::Denied, start + LOGGED_EVERY * 2), Some(0));
    }
}
