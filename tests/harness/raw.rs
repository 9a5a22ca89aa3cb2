//! A raw connection, for bytes that no HTTP client would send.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::wait::{DEADLINE, eventually};

/// A TCP connection from the loopback address `127.0.0.HOST`, for another protocol than HTTP/1.1.
pub(crate) async fn connect_from(host: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// A TCP connection to a server.
pub(crate) struct Raw {
    stream: TcpStream,
    /// Bytes that were read but not yet returned.
    ahead: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, ahead: Vec::new() }
    }

    /// A connection from another loopback address, `127.0.0.HOST`: another client.
    pub(crate) async fn connect_from(host: u8, address: SocketAddr) -> Self {
        Self { stream: connect_from(host, address).await, ahead: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends bytes on a connection that the server may close in the meantime.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends `byte` again and again until the server answers or closes the connection.
    pub(crate) async fn drip(&mut self, byte: u8) {
        eventually("the server has had enough", async || {
            let broken = self.try_send(&[byte]).await.is_err();
            match self.stream.try_read_buf(&mut self.ahead) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => broken.then_some(()),
                _ => Some(()),
            }
        })
        .await;
    }

    /// Waits until the server has read everything that was sent, according to the kernel.
    pub(crate) async fn taken(&self) {
        let port =
            |address: std::io::Result<SocketAddr>| format!(":{:04X}", address.unwrap().port());
        let (server, own) = (port(self.stream.peer_addr()), port(self.stream.local_addr()));
        eventually("the server has read what was sent", async || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let is_read = |line: &str| {
                let fields: Vec<_> = line.split_whitespace().collect();
                let [_, local, remote, _, queues, ..] = fields[..] else { return false };
                let is_servers = local.ends_with(&server) && remote.ends_with(&own);
                is_servers && queues.ends_with(":00000000")
            };
            sockets.lines().any(is_read).then_some(())
        })
        .await;
    }

    /// The next answer: its head, in lower case, and its body.
    pub(crate) async fn answer(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.trim().parse().unwrap());
        while self.ahead.len() < length {
            assert!(
                self.read().await > 0,
                "the connection was closed within the body after {head}"
            );
        }
        (head, self.ahead.drain(..length).collect())
    }

    /// The head of the next answer, which has no body, such as an answer to HEAD.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.ahead.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap().to_lowercase();
            }
            let read = self.read().await;
            assert!(read > 0, "the connection was closed before an answer: {:?}", self.ahead);
        }
    }

    /// Waits until the server closes the connection, and returns what it sent until then.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        while self.read().await > 0 {}
        std::mem::take(&mut self.ahead)
    }

    /// Reads some bytes. Returns 0 if the connection is closed or broken.
    async fn read(&mut self) -> usize {
        let read = timeout(DEADLINE, self.stream.read_buf(&mut self.ahead)).await;
        read.expect("the server sends something or closes the connection").unwrap_or(0)
    }
}
