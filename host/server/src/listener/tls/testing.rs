//! Certificates for tests of this folder.
#![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

/// A new certificate for `localhost`, which vouches for itself, and its key.
pub(super) fn certified() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Installs the provider of cryptography, as the program does.
pub(super) fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
