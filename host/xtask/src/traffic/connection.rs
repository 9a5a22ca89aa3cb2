//! A kept-alive connection, on which requests are sent as bytes and answers are read to the end.
//!
//! Reads only HTTP/1.1 as Weir writes it, with a `content-length`: a client that costs little is worth more
//! here than one that can do everything.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::cache_status::CacheStatus;

/// What a connection was answered.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) answers: u64,
    /// Answers whose `Cache-Status` reports a hit.
    pub(crate) hits: u64,
    pub(crate) seconds: f64,
}

/// Formats a request with a JSON body, head and body.
pub(crate) fn request(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Formats a request without a body.
pub(crate) fn request_without_body(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// Opens a connection from another address of this machine.
pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to).await
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    pub(crate) counted: Counted,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Self::on(TcpStream::connect(address).await.context("connecting")?)
    }

    /// A connection that is already open.
    pub(crate) fn on(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096), counted: Counted::default() })
    }

    /// Sends a request, head and body, and reads its answer, which must be a success.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<()> {
        let Answer { head, .. } = self.exchange(request).await?;
        let is_hit = head.cache.is_hit();
        if head.status != 200 {
            bail!("the server answered {}", String::from_utf8_lossy(&self.buffer));
        }
        self.counted.answers += 1;
        self.counted.hits += u64::from(is_hit);
        Ok(())
    }

    /// Sends a request, head and body, and reads its answer, whatever it is.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        while self.buffer.len() < head.answer_bytes {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "an answer was truncated");
        }
        let body = &self.buffer[head.head_bytes..head.answer_bytes];
        Ok(Answer { head, body })
    }
}

/// A complete answer.
pub(crate) struct Answer<'a> {
    pub(crate) head: Head,
    pub(crate) body: &'a [u8],
}

/// The part of an answer's head that is needed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) cache: CacheStatus,
    /// Whether the server closes the connection after this answer.
    pub(crate) is_last: bool,
    head_bytes: usize,
    /// The length of head and body.
    answer_bytes: usize,
}

impl Head {
    /// Returns `None` if the head is not complete yet.
    fn parse(buffer: &[u8]) -> Result<Option<Self>> {
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&buffer[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3));
        let status = status.context("an answer is not one of HTTP/1.1")?.parse()?;
        let (mut body_bytes, mut cache, mut is_last) = (None, CacheStatus::Absent, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                body_bytes = Some(value.trim().parse::<usize>()?);
            } else if name.eq_ignore_ascii_case("cache-status") {
                cache = CacheStatus::parse(value);
            } else if name.eq_ignore_ascii_case("connection") {
                is_last = value.trim().eq_ignore_ascii_case("close");
            }
        }
        let body_bytes = body_bytes.context("an answer has no content-length")?;
        let head_bytes = end + 4;
        let answer_bytes = head_bytes + body_bytes;
        Ok(Some(Self { status, cache, is_last, head_bytes, answer_bytes }))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn heads_are_parsed_when_complete() {
        let hit =
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncache-status: weir; hit; ttl=9\r\n\r\nab";
        let miss = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncache-status: weir; fwd=miss\r\n\r\n";
        let last = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\nConnection: close\r\n\r\n";
        let head = |status, cache, is_last, head_bytes, body_bytes| {
            let answer_bytes = head_bytes + body_bytes;
            Some(Head { status, cache, is_last, head_bytes, answer_bytes })
        };
        for (buffer, expected) in [
            (&hit[..], head(200, CacheStatus::Memory, false, hit.len() - 2, 5)),
            (&miss[..], head(200, CacheStatus::Miss, false, miss.len(), 0)),
            (&last[..], head(503, CacheStatus::Absent, true, last.len(), 0)),
            (&hit[..40], None),
            (b"", None),
        ] {
            assert_eq!(Head::parse(buffer).unwrap(), expected);
        }
        assert!(Head::parse(b"SSH-2.0 hello\r\n\r\n").is_err());
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
