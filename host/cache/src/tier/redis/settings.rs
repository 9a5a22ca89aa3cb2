//! How a Redis is reached: what the operator configures, with the secrets that this names.
//!
//! Out of scope: the file in which this is configured, and whether anything answers there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// Where a Redis is, how to log in, and how many connections and how much time it may take.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// How its servers belong together.
    pub topology: Topology,
    /// Hosts with their ports: the server, some of the Sentinels, or some nodes of the Cluster.
    pub servers: Vec<(String, u16)>,
    /// The user; `None` is Redis's default user.
    pub user: Option<String>,
    /// The file with the user's password.
    pub password_file: Option<PathBuf>,
    /// The database that is selected. A Cluster has only 0.
    pub database: u8,
    /// Whether TLS is used, and whom it trusts.
    pub tls: Option<Trust>,
    /// What the keys begin with.
    pub key_prefix: String,
    /// How many connections are open (in a Cluster, to each of its primaries).
    pub connections: usize,
    /// How long connecting may take, with TLS; and after it, logging in.
    pub connect_timeout: Duration,
    /// How long a command may take.
    pub command_timeout: Duration,
    /// The pause before the first attempt to connect again. Each one doubles it, with jitter.
    pub min_reconnect_delay: Duration,
    /// The longest pause.
    pub max_reconnect_delay: Duration,
    /// The most commands that wait to be sent on a connection.
    pub max_queued_commands: usize,
    /// The largest envelope that is read.
    pub max_envelope_bytes: usize,
    /// The memory of envelopes that Redis has not accepted yet.
    pub max_unsent_bytes: usize,
}

/// How the servers of a Redis belong together.
#[derive(Clone, Debug)]
pub enum Topology {
    /// One server.
    Single,
    /// A primary with replicas, which Sentinels replace when it fails.
    Sentinel {
        /// The name under which the Sentinels know the primary.
        primary: String,
        /// The user at the Sentinels.
        user: Option<String>,
        /// The file with that user's password.
        password_file: Option<PathBuf>,
    },
    /// Primaries that divide the keys among themselves.
    Cluster,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that this system trusts.
    System,
    /// Those of the certificate authorities in this file, and no others.
    File(PathBuf),
}

/// Why a Redis cannot be used as it is configured. None depends on whether it answers.
#[derive(Debug, Error)]
pub enum SetUpError {
    /// A file with a password cannot be read.
    #[error("the password file {path} cannot be read: {error}")]
    Password {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: io::Error,
    },
    /// A file with a password has none.
    #[error("the password file {path} must have one line, which is the password")]
    NoPassword {
        /// The file.
        path: PathBuf,
    },
    /// The file with certificate authorities cannot be used.
    #[error("the file of certificate authorities {path} cannot be used: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system trusts nobody.
    #[error(
        "this system has no trusted certificates ({reason}): install its package of them, such as \
         ca-certificates, or name a file"
    )]
    NoAuthorities {
        /// What went wrong, if anything.
        reason: String,
    },
    /// The program has not chosen the implementation of TLS's cryptography.
    #[error("no provider of cryptography is installed")]
    NoProvider,
    /// The client cannot be made.
    #[error("{0}")]
    Client(String),
}

/// A password. It has no `Debug`, so that it is in no log.
#[derive(Clone)]
pub(super) struct Password(String);

impl Password {
    /// Reads a password from the only line of a file.
    pub(super) fn read(path: &Path) -> Result<Self, SetUpError> {
        let text = fs::read_to_string(path)
            .map_err(|error| SetUpError::Password { path: path.to_owned(), error })?;
        let mut lines = text.lines();
        match (lines.next(), lines.next()) {
            (Some(line), None) if !line.is_empty() => Ok(Self(line.to_owned())),
            _ => Err(SetUpError::NoPassword { path: path.to_owned() }),
        }
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The password in a file, if there is to be one.
pub(super) fn password(path: Option<&Path>) -> Result<Option<Password>, SetUpError> {
    path.map(Password::read).transpose()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_password_is_the_only_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (text, expected) in [
            ("secret", Some("secret")),
            ("secret\n", Some("secret")),
            ("secret\r\n", Some("secret")),
            (" with spaces ", Some(" with spaces ")),
            ("", None),
            ("\n", None),
            ("two\nlines", None),
        ] {
            fs::write(&path, text).unwrap();
            let read = Password::read(&path);
            assert_eq!(read.as_ref().ok().map(Password::reveal), expected, "{text:?}");
        }
        let error = password(Some(&folder.path().join("missing"))).err().unwrap().to_string();
        assert!(error.contains("missing cannot be read"), "{error}");
        assert!(password(None).unwrap().is_none());
    }
}
