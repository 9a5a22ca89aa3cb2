//! A proxy in front of a server, with faults: it delays, swallows, cuts and resets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How much arrives of what is cut at most. A busy server has several answers in one piece, so its half could
/// hold whole values.
const MAX_CUT_BYTES: usize = 32;

/// What the proxy does to what it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Everything arrives so much later.
    Delay(Duration),
    /// Nothing arrives any more, in either direction, and no connection ends.
    BlackHole,
    /// The same on the first connection that was made, and nothing on the others.
    BlackHoleOnFirst,
    /// What the server says next ends in its middle, and so does the connection.
    Cut,
    /// Connections end with a reset.
    Reset,
}

/// A proxy; gone when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    fault: Arc<watch::Sender<Fault>>,
    accepts: JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of this server, without a fault.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(watch::Sender::new(Fault::None));
        let faults = Arc::clone(&fault);
        let accepts = tokio::spawn(async move {
            let mut is_first = true;
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, faults.subscribe(), is_first));
                is_first = false;
            }
        });
        Self { address, fault, accepts }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, also on connections that exist.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

/// Passes on between a client and the server, until one ends or the proxy is gone.
async fn connection(
    client: TcpStream,
    server: SocketAddr,
    fault: watch::Receiver<Fault>,
    is_first: bool,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever ends first ends both connections.
    select! {
        () = pass_on(from_client, to_server, fault.clone(), is_first, false) => {}
        () = pass_on(from_server, to_client, fault, is_first, true) => {}
    }
}

/// Passes on until the connection ends, or is to end.
async fn pass_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
    is_first: bool,
    is_answer: bool,
) {
    let is_black_hole = |fault| match fault {
        Fault::BlackHole => true,
        Fault::BlackHoleOnFirst => is_first,
        _ => false,
    };
    let mut bytes = vec![0; 16 << 10];
    loop {
        // A black hole reads nothing, and keeps the connection.
        let Ok(fault) = faults.wait_for(|fault| !is_black_hole(*fault)).await.map(|fault| *fault)
        else {
            return;
        };
        if fault == Fault::Reset {
            for stream in [from.as_ref(), to.as_ref()] {
                let _ = stream.set_zero_linger();
            }
            return;
        }
        let read = select! {
            // What is read after a fault was set is subject to it.
            biased;
            changed = faults.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from.read(&mut bytes) => read,
        };
        let read = match read {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if let Fault::Delay(time) = fault {
            sleep(time).await;
        }
        let is_cut = is_answer && fault == Fault::Cut;
        let passed_on = if is_cut { (read / 2).min(MAX_CUT_BYTES) } else { read };
        if to.write_all(&bytes[..passed_on]).await.is_err() || is_cut {
            return;
        }
    }
}
