//! The `weir` program: its command line, its configuration, and the code that wires a server
//! together.
//!
//! [`cli`] is the command line; [`config`] is the file that an operator writes; [`build`] turns
//! it into an [`App`](weir_server::http::app::App). Out of scope: everything else, which is in
//! the crates below (`host/ARCHITECTURE.md` describes them).

pub mod build;
pub mod cli;
pub mod config;
mod shared;

/// Makes ring's cryptography what all TLS connections of this process use. A second call changes nothing.
pub fn install_crypto_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use rustls::crypto::CryptoProvider;

    #[test]
    fn the_provider_of_cryptography_is_rings() {
        super::install_crypto_provider();
        super::install_crypto_provider();
        let installed = CryptoProvider::get_default().map(|installed| format!("{installed:?}"));
        let ring = format!("{:?}", rustls::crypto::ring::default_provider());
        assert!(installed == Some(ring), "{installed:?}");
    }
}
