//! The memory for large answers that clients have not read yet.
//!
//! An answer of more than 64 KiB is charged until its last byte has been written; for smaller ones,
//! the number of requests in flight is bound enough. Requests that get the same answer from the
//! cache share its bytes, which are charged once. Out of scope: when a client that does not read
//! loses its connection (`listener`).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::timeout;
use weir_limits::charge::Charge;
use weir_limits::client::Client;
use weir_limits::shares::{Share, Shares};

use super::problem::{Problem, codes};

/// Smaller answers are not charged.
pub(crate) const UNCHARGED_BYTES: usize = 64 << 10;
const KIB: usize = 1 << 10;
/// How long an answer waits for memory.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How many answers to one client wait for memory.
const MAX_WAITING: usize = 1_024;

/// The memory for such answers, shared by all connections. A client gets no more of it than is
/// still free.
#[derive(Debug)]
pub(super) struct Unread {
    kib: Shares<Client>,
    /// By the address of the answers' bytes, which are not freed while they are here.
    charged: Arc<Mutex<HashMap<usize, Weak<Charged>>>>,
}

/// An answer's bytes that are being written, to one or more clients.
#[derive(Debug)]
struct Charged {
    all: Arc<Mutex<HashMap<usize, Weak<Self>>>>,
    /// Kept, so that no other answer gets their address.
    bytes: Bytes,
    _share: Share<Client>,
}

impl Unread {
    pub(super) fn new(bytes: usize) -> Self {
        let kib = Shares::new(bytes.div_ceil(KIB), 1, MAX_WAITING);
        Self { kib, charged: Arc::default() }
    }

    /// Charges `response` if it is large. The charge must be kept until it has been written.
    ///
    /// # Errors
    /// 503 if there is no memory for it in time.
    pub(super) async fn admit(
        &self,
        client: Client,
        response: &mut Response,
    ) -> Result<Charge, Problem> {
        if response.body().size_hint().lower() <= UNCHARGED_BYTES as u64 {
            return Ok(Charge::none());
        }
        let body = std::mem::take(response.body_mut());
        // All answers are complete, so this neither waits nor copies.
        let bytes = body.collect().await.map_err(Problem::internal)?.to_bytes();
        let charge = self.charge(client, &bytes).await?;
        *response.body_mut() = Body::from(bytes);
        Ok(charge)
    }

    async fn charge(&self, client: Client, bytes: &Bytes) -> Result<Charge, Problem> {
        let address = bytes.as_ptr() as usize;
        if let Some(charged) = self.charged.lock().get(&address).and_then(Weak::upgrade) {
            return Ok(Charge::of(charged));
        }
        let wanted = self.kib.take(&client, 1, bytes.len().div_ceil(KIB));
        let Ok(Ok(share)) = timeout(MAX_WAIT, wanted).await else {
            let detail = "Too many large answers wait for their clients to read them. The request \
                          itself was carried out.";
            return Err(Problem::new(codes::OVERLOADED, detail).retry_after(1));
        };
        let bytes = bytes.clone();
        let charged = Charged { all: Arc::clone(&self.charged), bytes, _share: share };
        let charged = Arc::new(charged);
        // If another request has charged the same bytes meanwhile, they are charged twice.
        self.charged.lock().insert(address, Arc::downgrade(&charged));
        Ok(Charge::of(charged))
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        // Another request may have charged the same bytes since.
        let address = self.bytes.as_ptr() as usize;
        if all.get(&address).is_some_and(|charged| charged.strong_count() == 0) {
            all.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::net::Ipv4Addr;

    use futures::FutureExt as _;

    use super::*;

    fn client(number: u8) -> Client {
        Client::at(Ipv4Addr::new(192, 0, 2, number).into())
    }

    fn admitted(unread: &Unread, number: u8, bytes: &Bytes) -> Option<Charge> {
        let mut response = Response::new(Body::from(bytes.clone()));
        let charge = unread.admit(client(number), &mut response).now_or_never()?;
        assert_eq!(response.body().size_hint().exact(), Some(bytes.len() as u64));
        charge.ok()
    }

    #[tokio::test]
    async fn large_answers_are_charged_once_until_nobody_writes_them() {
        let unread = Unread::new(1_000 * KIB);
        let large = Bytes::from(vec![b'x'; 300 * KIB]);
        let small = Bytes::from(vec![b'x'; UNCHARGED_BYTES]);
        let one = admitted(&unread, 1, &large).unwrap();
        let two = admitted(&unread, 2, &large).unwrap();
        let _small = admitted(&unread, 1, &small).unwrap();
        assert_eq!(unread.kib.free(), 700);
        drop(one);
        assert_eq!(unread.kib.free(), 700);
        drop(two);
        assert_eq!(unread.kib.free(), 1_000);
        assert!(unread.charged.lock().is_empty());
    }

    #[tokio::test]
    async fn a_client_gets_no_more_than_is_free() {
        let unread = Unread::new(1_000 * KIB);
        let answer = || Bytes::from(vec![b'x'; 300 * KIB]);
        let _first = admitted(&unread, 1, &answer()).unwrap();
        let second = admitted(&unread, 1, &answer()).unwrap();
        assert!(admitted(&unread, 1, &answer()).is_none());
        assert!(admitted(&unread, 2, &answer()).is_some());
        drop(second);
        assert!(admitted(&unread, 1, &answer()).is_some());
    }
}
