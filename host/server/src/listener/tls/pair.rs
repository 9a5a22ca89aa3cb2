//! A certificate and its key, read from files.
//!
//! Everything that can be wrong with them is found here, before a client meets it. Out of scope: when
//! they are read ([`follow`](super::follow)), and certificates of clients.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tracing::warn;

use super::expiry::{Time, expiry};

/// No certificate with its chain, and no key, is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The permissions that let every user read a file, write or execute it.
const OTHERS: u32 = 0o007;

/// Where a certificate and its key are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// A certificate that matches its key.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    /// What rustls proves the server's identity with.
    pub(super) key: Arc<CertifiedKey>,
    /// When the certificate expires.
    pub(super) expires: Time,
}

/// Why a certificate or its key cannot be used.
#[derive(Debug, Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        error: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{0} is larger than {MAX_FILE_BYTES} bytes, which no certificate and no key is")]
    TooLarge(PathBuf),
    /// There is no certificate in its file.
    #[error("{path} has no certificate in PEM format: {reason}")]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no key in its file.
    #[error("{path} has no private key in PEM format: {reason}")]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// They do not belong together.
    #[error(
        "the key in {key} is not that of the first certificate in {certificate}: write both files of the \
         same certificate, with the server's own certificate first"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// They are of a kind that is not supported.
    #[error("the certificate in {certificate} cannot be used with the key in {key}: {reason}")]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// The program has not chosen an implementation of cryptography.
    #[error("no provider of cryptography is installed")]
    NoProvider,
}

impl Pair {
    /// Reads both files. Warns if every user of the machine can read the key.
    ///
    /// # Errors
    /// One of them cannot be read or is not what it should be, or they do not belong together.
    pub(super) fn read(files: &Files) -> Result<Self, PairError> {
        let provider = CryptoProvider::get_default().ok_or(PairError::NoProvider)?;
        let chain = certificates(&files.certificate)?;
        let key = private_key(&files.key)?;
        let expires = chain.first().and_then(|own| expiry(own));
        let expires = expires.ok_or_else(|| PairError::NoCertificate {
            path: files.certificate.clone(),
            reason: "what is encoded there is something else".to_owned(),
        })?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let Files { certificate, key } = files.clone();
            match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    PairError::Mismatch { certificate, key }
                }
                error => PairError::Unusable { certificate, key, reason: error.to_string() },
            }
        })?;
        Ok(Self { key: Arc::new(key), expires })
    }

    /// Whether clients would see no difference.
    pub(super) fn is(&self, other: &Self) -> bool {
        // A certificate says which key it has.
        self.key.cert == other.key.cert
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let refused = |error: pem::Error| PairError::NoCertificate {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let (bytes, _) = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(refused)?;
    if chain.is_empty() { Err(refused(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, PairError> {
    let (bytes, mode) = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| PairError::NoKey { path: path.to_owned(), reason: error.to_string() })?;
    if mode & OTHERS != 0 {
        let path = path.display();
        warn!("every user of this machine can read the private key {path}: run `chmod o= {path}`");
    }
    Ok(key)
}

/// The bytes of a file, and its permissions.
fn read(path: &Path) -> Result<(Vec<u8>, u32), PairError> {
    let read = || {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    let (bytes, mode) =
        read().map_err(|error| PairError::Unreadable { path: path.to_owned(), error })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(PairError::TooLarge(path.to_owned()));
    }
    Ok((bytes, mode))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::fs;

    use super::super::testing::{certified, install};
    use super::*;

    /// The reason for refusing files with these contents; `None` leaves one out.
    fn refused(certificate: Option<&[u8]>, key: Option<&[u8]>) -> String {
        install();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: Option<&[u8]>| {
            let path = folder.path().join(name);
            if let Some(bytes) = bytes {
                fs::write(&path, bytes).unwrap();
            }
            path
        };
        let files = Files { certificate: file("certificate", certificate), key: file("key", key) };
        Pair::read(&files).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_file() {
        let ((certificate, key), (other, other_key)) = (certified(), certified());
        let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let cut = &certificate[..certificate.len() / 2];
        let no_der = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let large = vec![b'\n'; (MAX_FILE_BYTES + 1) as usize];
        let issued_after = text(certificate) + &other;
        for (certificate, key, expected) in [
            (None, Some(key), "/certificate cannot be read: "),
            (Some(certificate), None, "/key cannot be read: "),
            (Some(&b""[..]), Some(key), "/certificate has no certificate in PEM format"),
            (Some(key), Some(key), "/certificate has no certificate in PEM format"),
            (Some(cut), Some(key), "/certificate has no certificate in PEM format"),
            (Some(no_der), Some(key), "/certificate has no certificate in PEM format"),
            (Some(&large), Some(key), "/certificate is larger than"),
            (Some(certificate), Some(b"x"), "/key has no private key in PEM format"),
            (Some(certificate), Some(certificate), "/key has no private key in PEM format"),
            (Some(certificate), Some(no_key), "cannot be used with the key in"),
            (Some(certificate), Some(other_key.as_bytes()), "is not that of the first certificate"),
            (Some(issued_after.as_bytes()), Some(other_key.as_bytes()), "is not that of the first"),
        ] {
            let said = refused(certificate, key);
            assert!(said.contains(expected), "{expected:?}: {said}");
        }
    }

    #[test]
    fn a_pair_knows_when_it_expires() {
        install();
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = certified();
        let files = Files {
            certificate: folder.path().join("certificate"),
            key: folder.path().join("key"),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        let pair = Pair::read(&files).unwrap();
        // What rcgen's certificates have unless they are told otherwise.
        assert_eq!(pair.expires.to_string(), "4096-01-01T00:00:00Z");
        assert!(pair.is(&Pair::read(&files).unwrap()));
    }
}
