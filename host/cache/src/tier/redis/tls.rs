//! TLS to Redis, with the provider of cryptography that the program has installed.
//!
//! Only one may be linked and installed, for the whole program: with two, whoever does not name one
//! panics at the first connection. Out of scope: certificates of clients.

use std::path::Path;
use std::sync::Arc;

use fred::types::config::{TlsConfig, TlsConnector};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::settings::{SetUpError, Trust};

/// What connections are secured with.
pub(super) fn config(trust: &Trust) -> Result<TlsConfig, SetUpError> {
    let roots = match trust {
        Trust::System => of_system()?,
        Trust::File(path) => of_file(path)?,
    };
    let provider = Arc::clone(CryptoProvider::get_default().ok_or(SetUpError::NoProvider)?);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetUpError::Client(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(config).into())
}

/// The certificates that this system trusts. Some that cannot be read are nothing unusual.
fn of_system() -> Result<RootCertStore, SetUpError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason =
            found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
        return Err(SetUpError::NoAuthorities { reason });
    }
    Ok(roots)
}

/// The certificates of a file. All must be usable: whoever names them means them.
fn of_file(path: &Path) -> Result<RootCertStore, SetUpError> {
    let refused = |reason| SetUpError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path);
    for certificate in certificates.map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refused("it has no certificate in PEM format".to_owned()));
    }
    Ok(roots)
}
