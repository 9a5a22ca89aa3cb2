//! A private authority of certificates, and a certificate for this machine.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// PEM files of an authority, and of a certificate from it for `localhost`.
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes new ones.
    #[must_use]
    pub fn make() -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_certificate = authority.self_signed(&authority_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        let made = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(made.authority(), authority_certificate.pem()).unwrap();
        fs::write(made.certificate(), certificate.pem()).unwrap();
        fs::write(made.key(), key.serialize_pem()).unwrap();
        made
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The certificate for `localhost`.
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
