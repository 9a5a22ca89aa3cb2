//! A private authority of certificates, and certificates for this machine.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// PEM files of an authority, and of a certificate from it.
pub struct Certificates {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
    names: Vec<String>,
}

impl Certificates {
    /// Makes new ones, for `localhost`.
    #[must_use]
    pub fn make() -> Self {
        Self::of(&["localhost"])
    }

    /// The same for these names.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let made = Self { folder: tempfile::tempdir().unwrap(), issuer, names };
        fs::write(made.authority(), authority_certificate.pem()).unwrap();
        let (certificate, key) = made.issue();
        fs::write(made.certificate(), certificate).unwrap();
        fs::write(made.key(), key).unwrap();
        fs::set_permissions(made.key(), Permissions::from_mode(0o600)).unwrap();
        made
    }

    /// Another certificate from the same authority, and its key, in PEM format.
    #[must_use]
    pub fn issue(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(self.names.clone()).unwrap();
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}
