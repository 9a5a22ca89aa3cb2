//! Which servers the command line trusts over TLS. Out of scope: what it asks them.

use std::error::Error;
use std::fs;
use std::io;
use std::iter;
use std::path::Path;

use anyhow::Context as _;
use reqwest::{Certificate, ClientBuilder};

/// Begins a client for `url`. It trusts the authorities in `ca_file` and no others, or else those that the
/// system trusts.
///
/// # Errors
/// The file has no certificates.
pub(crate) fn builder(url: &str, ca_file: Option<&Path>) -> anyhow::Result<ClientBuilder> {
    let builder = reqwest::Client::builder();
    match ca_file {
        Some(file) => {
            let pem = fs::read(file)
                .with_context(|| format!("cannot read the authorities {}", file.display()))?;
            let authorities = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            anyhow::ensure!(
                !authorities.is_empty(),
                "{} has no certificate in PEM format",
                file.display()
            );
            Ok(builder.tls_certs_only(authorities))
        }
        None if is_https(url) => Ok(builder),
        // Whoever needs none of the system's authorities need not have any.
        None => Ok(builder.tls_certs_only([])),
    }
}

fn is_https(url: &str) -> bool {
    url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// What to do about an error of TLS; `None` if it is another one.
pub(crate) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let causes = iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        // What it wraps is not what it calls its source.
        Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    });
    causes.filter_map(|error| error.downcast_ref()).next().map(|error| match error {
        rustls::Error::InvalidCertificate(_) => {
            "its certificate is not trusted: name the file of its authority with --ca-file, and the server \
             as its certificate does with --url"
        }
        rustls::Error::InvalidMessage(_) => {
            "it does not seem to speak TLS: does the URL begin with 'http://'?"
        }
        _ => "the connection has no TLS",
    })
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, InvalidMessage};

    use super::*;

    #[test]
    fn an_error_of_tls_is_found_where_it_is_wrapped() {
        let wrapped = |error: rustls::Error| io::Error::other(io::Error::other(error));
        let untrusted = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(advice(&wrapped(untrusted)).is_some_and(|advice| advice.contains("--ca-file")));
        let plain = InvalidMessage::InvalidContentType.into();
        assert!(advice(&wrapped(plain)).is_some_and(|advice| advice.contains("'http://'")));
        assert_eq!(advice(&io::Error::other("else")), None);
    }

    #[test]
    fn only_https_needs_authorities() {
        for (url, expected) in
            [("https://a", true), ("HTTPS://a", true), ("http://a", false), ("https:", false)]
        {
            assert_eq!(is_https(url), expected, "{url}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() -> io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        for (path, expected) in
            [(file.path(), "has no certificate"), (Path::new("/nowhere"), "cannot read the")]
        {
            let refused = builder("https://a", Some(path)).err().map(|error| error.to_string());
            assert!(refused.is_some_and(|error| error.contains(expected)), "{expected}");
        }
        Ok(())
    }
}
