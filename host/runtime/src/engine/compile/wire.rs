//! What the server and the process that compiles say to each other, through pipes: one request with one
//! component, and one reply. Each part begins with its length, so that what was cut off is noticed.
//!
//! Out of scope: who starts whom (`process`), and what the answer is (`child`).

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::engine::kind::Kind;

/// The longest request, without its component.
const MAX_REQUEST_BYTES: u64 = 4 << 10;
/// The longest reason for not compiling. wasmtime's have a few hundred bytes.
const MAX_REASON_BYTES: usize = 16 << 10;

/// What is compiled, for which engine, and within which limits. Its component follows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) kind: Kind,
    /// Hex sha-256 of the component.
    pub(super) digest: String,
    /// The fingerprint of the engine that will run the code.
    pub(super) engine: String,
    pub(super) max_memory_bytes: u64,
    pub(super) max_cpu_seconds: u64,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The compiled code.
    Code(Vec<u8>),
    /// wasmtime's reason for refusing the component.
    Refused(String),
    /// There was not enough memory.
    NoMemory,
    /// Compiling was not tried, for this reason.
    Failed(String),
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum NoReply {
    /// It is longer than it may be.
    TooLong,
    /// It is no reply, or was cut off.
    Broken,
}

impl Request {
    /// The request as bytes, up to its component.
    pub(super) fn before(&self, component: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        write_part(&mut bytes, &serde_json::to_vec(self)?)?;
        bytes.extend((component.len() as u64).to_le_bytes());
        Ok(bytes)
    }

    /// Reads the request, and leaves its component.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        Ok(serde_json::from_slice(&read_part(from, MAX_REQUEST_BYTES)?)?)
    }
}

impl Reply {
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, part) = match self {
            Self::Code(code) => (0, code.as_slice()),
            Self::Refused(reason) => (1, up_to(reason, MAX_REASON_BYTES)),
            Self::NoMemory => (2, &[][..]),
            Self::Failed(reason) => (3, up_to(reason, MAX_REASON_BYTES)),
        };
        to.write_all(&[kind])?;
        write_part(to, part)?;
        to.flush()
    }

    /// Reads a reply with at most so much code.
    pub(super) async fn read(
        from: &mut (impl AsyncRead + Unpin),
        max_code_bytes: u64,
    ) -> Result<Self, NoReply> {
        let kind = from.read_u8().await.map_err(broken)?;
        let length = from.read_u64_le().await.map_err(broken)?;
        let most = if kind == 0 { max_code_bytes } else { MAX_REASON_BYTES as u64 };
        if length > most {
            return Err(NoReply::TooLong);
        }
        // Memory is taken as bytes arrive, not because a length says so.
        let mut part = Vec::new();
        from.take(length).read_to_end(&mut part).await.map_err(broken)?;
        if (part.len() as u64) < length {
            return Err(NoReply::Broken);
        }
        let reason = |part: Vec<u8>| String::from_utf8_lossy(&part).into_owned();
        match kind {
            0 => Ok(Self::Code(part)),
            1 => Ok(Self::Refused(reason(part))),
            2 => Ok(Self::NoMemory),
            3 => Ok(Self::Failed(reason(part))),
            _ => Err(NoReply::Broken),
        }
    }
}

fn broken(_: io::Error) -> NoReply {
    NoReply::Broken
}

/// Reads a part of at most `most` bytes.
///
/// # Errors
/// It is longer or was cut off, or there is no memory for it.
pub(super) fn read_part(from: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut part = Vec::new();
    let room = usize::try_from(length).unwrap_or(usize::MAX);
    part.try_reserve_exact(room).map_err(|_| io::ErrorKind::OutOfMemory)?;
    from.take(length).read_to_end(&mut part)?;
    if part.len() == room { Ok(part) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn write_part(to: &mut impl Write, part: &[u8]) -> io::Result<()> {
    to.write_all(&(part.len() as u64).to_le_bytes())?;
    to.write_all(part)
}

/// The beginning of a text, in whole characters.
fn up_to(text: &str, most: usize) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn request() -> Request {
        Request {
            kind: Kind::LargePipelines,
            digest: "d".repeat(64),
            engine: "e".repeat(64),
            max_memory_bytes: 1 << 30,
            max_cpu_seconds: 30,
        }
    }

    fn written(reply: &Reply) -> Vec<u8> {
        let mut bytes = Vec::new();
        reply.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_request_arrives_with_its_component() {
        let sent = [request().before(b"component").unwrap(), b"component".to_vec()].concat();
        let mut from = sent.as_slice();
        assert_eq!(Request::read(&mut from).unwrap(), request());
        assert_eq!(read_part(&mut from, 9).unwrap(), b"component");
        for end in 0..sent.len() {
            let mut from = &sent[..end];
            let read = Request::read(&mut from).and_then(|_| read_part(&mut from, 9));
            assert!(read.is_err(), "cut off after {end} bytes");
        }
        let mut from = &request().before(b"component").unwrap()[..];
        Request::read(&mut from).unwrap();
        assert_eq!(read_part(&mut from, 8).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let endless = [0xff; 16];
        assert_eq!(
            Request::read(&mut &endless[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[tokio::test]
    async fn a_reply_arrives_whole_or_not_at_all() {
        for reply in [
            Reply::Code(vec![7; 100]),
            Reply::Refused("magic".to_owned()),
            Reply::NoMemory,
            Reply::Failed("digest".to_owned()),
        ] {
            let sent = written(&reply);
            assert_eq!(Reply::read(&mut sent.as_slice(), 100).await.unwrap(), reply);
            for end in 0..sent.len() {
                let cut = Reply::read(&mut &sent[..end], 100).await;
                assert!(matches!(cut, Err(NoReply::Broken)), "{reply:?}, {end} bytes: {cut:?}");
            }
        }
        let long = Reply::read(&mut written(&Reply::Code(vec![7; 101])).as_slice(), 100).await;
        assert!(matches!(long, Err(NoReply::TooLong)), "{long:?}");
        let unknown = Reply::read(&mut [&[9][..], &[0; 8]].concat().as_slice(), 100).await;
        assert!(matches!(unknown, Err(NoReply::Broken)), "{unknown:?}");
    }

    #[tokio::test]
    async fn a_long_reason_is_cut_between_characters() {
        let sent = written(&Reply::Refused("é".repeat(MAX_REASON_BYTES)));
        let Reply::Refused(reason) = Reply::read(&mut sent.as_slice(), 0).await.unwrap() else {
            panic!("not refused")
        };
        assert_eq!(reason, "é".repeat(MAX_REASON_BYTES / 2));
    }
}
