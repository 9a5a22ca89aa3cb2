//! The host that a request names, and which names are accepted on a loopback address.
//!
//! A web page can have its own name resolve to 127.0.0.1 and then read what a server there answers, as
//! if it were its own (DNS rebinding). Such a request names the page's host, so on a loopback address
//! only names of this machine are accepted, and those that the operator adds. Out of scope: which
//! tenant a host belongs to.

use std::net::{IpAddr, SocketAddr};

use http::header;
use http::request::Parts;

/// The host that a request names, without a port: HTTP/2's authority or the `Host` header.
pub(super) fn named(head: &Parts) -> Option<&str> {
    match head.uri.host() {
        Some(host) => Some(host),
        None => Some(without_port(head.headers.get(header::HOST)?.to_str().ok()?)),
    }
}

fn without_port(authority: &str) -> &str {
    // An IPv6 address contains colons and is enclosed in brackets.
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    &authority[..end]
}

/// The hosts that requests may name.
#[derive(Debug)]
pub struct Hosts(Option<Accepted>);

#[derive(Debug)]
struct Accepted {
    /// The `Host` header of most requests, which is compared as it is.
    usual: String,
    /// The names that the operator adds.
    added: Vec<String>,
}

impl Hosts {
    /// The hosts of a server that listens on `address`: any, unless that is a loopback address. Then
    /// they are this machine's names, addresses, and those of `added`, where `*` stands for all.
    #[must_use]
    pub fn of(address: SocketAddr, added: impl IntoIterator<Item = String>) -> Self {
        let added: Vec<_> = added.into_iter().collect();
        let any =
            !address.ip().to_canonical().is_loopback() || added.iter().any(|host| host == "*");
        Self((!any).then(|| Accepted { usual: address.to_string(), added }))
    }

    /// Whether a request with this head is accepted. A request without a host is: browsers always
    /// name one.
    #[must_use]
    pub fn accept(&self, head: &Parts) -> bool {
        let Some(Accepted { usual, added }) = &self.0 else { return true };
        let host = match (head.uri.host(), head.headers.get(header::HOST)) {
            (Some(host), _) => host,
            (None, None) => return true,
            (None, Some(authority)) if authority == usual.as_str() => return true,
            (None, Some(authority)) => match authority.to_str() {
                Ok(authority) => without_port(authority),
                Err(_) => return false,
            },
        };
        let last = host.rsplit('.').next().unwrap_or_default();
        last.eq_ignore_ascii_case("localhost")
            || is_address(host)
            || added.iter().any(|added| host.eq_ignore_ascii_case(added))
    }
}

fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::{HeaderValue, Request};

    use super::*;

    fn head(uri: &str, host: Option<&'static str>) -> Parts {
        let mut request = Request::builder().uri(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, HeaderValue::from_static(host));
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_host_is_the_authority_or_the_header_without_a_port() {
        for (uri, header, expected) in [
            ("/", Some("acme.example:8080"), Some("acme.example")),
            ("/", Some("[::1]:8080"), Some("[::1]")),
            ("/", Some("[::1]"), Some("[::1]")),
            ("http://acme.example:1/", Some("other.example"), Some("acme.example")),
            ("/", None, None),
        ] {
            assert_eq!(named(&head(uri, header)), expected, "{uri} {header:?}");
        }
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_accepted() {
        let added = || ["Weir.internal".to_owned()];
        let on = |address: &str| Hosts::of(address.parse().unwrap(), added());
        let (loopback, six, public) = (on("127.0.0.1:1"), on("[::1]:1"), on("0.0.0.0:1"));
        assert!(loopback.accept(&head("/", Some("127.0.0.1:1"))), "as it is");
        for (host, accepted) in [
            (Some("127.0.0.1:8080"), true),
            (Some("[::1]:8080"), true),
            (Some("192.0.2.1"), true),
            (Some("localhost:8080"), true),
            (Some("LocalHost"), true),
            (Some("a.localhost"), true),
            (Some("weir.internal:8080"), true),
            (None, true),
            (Some("evil.example"), false),
            (Some("evil.example:8080"), false),
            (Some("localhost.evil.example"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("notlocalhost"), false),
            (Some(""), false),
        ] {
            assert_eq!(loopback.accept(&head("/", host)), accepted, "{host:?}");
            assert_eq!(six.accept(&head("/", host)), accepted, "{host:?}");
            assert!(public.accept(&head("/", host)), "{host:?}");
        }
        assert!(!loopback.accept(&head("http://evil.example/", Some("localhost"))));
        let any = Hosts::of("127.0.0.1:1".parse().unwrap(), ["*".to_owned()]);
        assert!(any.accept(&head("/", Some("evil.example"))));
    }
}
