//! Why handshakes fail, and what is counted of a listener's TLS.

use std::io;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

/// Why a connection has no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The handshake took too long.
    TimedOut,
    /// The client speaks HTTP without TLS.
    PlainHttp,
    /// The client left.
    Closed,
    /// The client ended the handshake, most likely because it does not trust the certificate.
    ByClient,
    /// The client knows no version, cipher or protocol that the server does.
    Incompatible,
    /// What the client sent is not TLS, or breaks it.
    Invalid,
    /// Anything else.
    Other,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::TimedOut,
        Self::PlainHttp,
        Self::Closed,
        Self::ByClient,
        Self::Incompatible,
        Self::Invalid,
        Self::Other,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed-out",
            Self::PlainHttp => "plain-http",
            Self::Closed => "closed",
            Self::ByClient => "by-client",
            Self::Incompatible => "incompatible",
            Self::Invalid => "invalid",
            Self::Other => "other",
        }
    }
}

impl From<&io::Error> for Refused {
    fn from(error: &io::Error) -> Self {
        use rustls::Error as Tls;
        match error.get_ref().and_then(|error| error.downcast_ref::<Tls>()) {
            None => Self::Closed,
            Some(Tls::AlertReceived(_)) => Self::ByClient,
            Some(Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol) => Self::Incompatible,
            Some(
                Tls::InvalidMessage(_)
                | Tls::InappropriateMessage { .. }
                | Tls::InappropriateHandshakeMessage { .. }
                | Tls::PeerMisbehaved(_)
                | Tls::PeerSentOversizedRecord
                | Tls::DecryptError,
            ) => Self::Invalid,
            Some(_) => Self::Other,
        }
    }
}

/// The metrics of one listener.
pub(super) struct Counted {
    /// By [`Refused`].
    refused: [Counter; Refused::ALL.len()],
    expires: Gauge,
    loaded: Counter,
    kept: Counter,
}

impl Counted {
    /// The metrics of the listener with this name. The recorder must be installed.
    pub(super) fn of(listener: &'static str) -> Self {
        describe();
        let refused = |why: Refused| counter!("weir_tls_handshake_failures_total", "listener" => listener, "reason" => why.as_str());
        let reloads = |outcome: &'static str| counter!("weir_tls_reloads_total", "listener" => listener, "outcome" => outcome);
        Self {
            refused: Refused::ALL.map(refused),
            expires: gauge!("weir_tls_certificate_expiry_timestamp_seconds", "listener" => listener),
            loaded: reloads("loaded"),
            kept: reloads("refused"),
        }
    }

    /// A handshake failed.
    pub(super) fn refused(&self, why: Refused) {
        self.refused[why as usize].increment(1);
    }

    /// The certificate that is used expires then.
    pub(super) fn expires(&self, unix_seconds: i64) {
        self.expires.set(unix_seconds as f64);
    }

    /// A changed pair was loaded, or the old one was kept.
    pub(super) fn reloaded(&self, loaded: bool) {
        if loaded { &self.loaded } else { &self.kept }.increment(1);
    }
}

fn describe() {
    describe_counter!(
        "weir_tls_handshake_failures_total",
        "Connections that ended before they had TLS, by listener and reason."
    );
    describe_gauge!(
        "weir_tls_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "When the certificate of a listener expires, in seconds since 1970."
    );
    describe_counter!(
        "weir_tls_reloads_total",
        "Changed certificates, by listener: loaded, or refused, so that the old one was kept."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_place() {
        for (place, why) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, place, "{why:?}");
        }
    }

    #[test]
    fn a_client_that_breaks_tls_is_told_from_one_that_left() {
        use rustls::{AlertDescription, InvalidMessage, PeerIncompatible};
        let tls = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        for (error, expected) in [
            (io::ErrorKind::UnexpectedEof.into(), Refused::Closed),
            (io::ErrorKind::ConnectionReset.into(), Refused::Closed),
            (tls(InvalidMessage::InvalidContentType.into()), Refused::Invalid),
            (tls(PeerIncompatible::NoCipherSuitesInCommon.into()), Refused::Incompatible),
            (tls(rustls::Error::NoApplicationProtocol), Refused::Incompatible),
            (tls(rustls::Error::AlertReceived(AlertDescription::UnknownCA)), Refused::ByClient),
            (tls(rustls::Error::EncryptError), Refused::Other),
        ] {
            assert_eq!(Refused::from(&error), expected, "{error}");
        }
    }
}
