//! Request bodies.
//!
//! [`Room`] reads them as a whole, within a size, a time, a rate and the memory that there is for
//! bodies. [`RequestBody`] makes sure that a refusal reaches its client. Many clients send their
//! whole body before they read, and lose the response if the connection is closed before then. So
//! when a body is dropped unread, the rest of it is read and discarded, up to 64 MiB or 5 s,
//! while the response is already being sent. A client that waits for `100 Continue` sends no
//! body without it, so there is nothing to discard. Out of scope: what the bytes mean.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

mod room;

pub use room::{BodyLimits, ChargedBody, Held, Room};

const MAX_DISCARDED_BYTES: usize = 64 << 20;
const MAX_DISCARD_TIME: Duration = Duration::from_secs(5);

/// A request body. When it is dropped before its end, the rest is read and discarded.
#[derive(Debug)]
pub struct RequestBody {
    /// `None` once it has ended or failed, or the discarding task has taken it.
    incoming: Option<Incoming>,
    /// The client waits for `100 Continue`, which asking for a frame sends.
    waits_to_be_asked: bool,
}

impl RequestBody {
    /// Wraps the body of `request`.
    pub fn wrap(request: Request<Incoming>) -> Request<Self> {
        let waits_to_be_asked = request.headers().contains_key(header::EXPECT);
        request.map(|incoming| {
            let incoming = (!incoming.is_end_stream()).then_some(incoming);
            Self { incoming, waits_to_be_asked }
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        this.waits_to_be_asked = false;
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || incoming.is_end_stream() {
            this.incoming = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        if self.waits_to_be_asked {
            return;
        }
        // Outside a runtime, at the very end of a shutdown, there is no client left to answer.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(timeout(MAX_DISCARD_TIME, discard(incoming)));
        }
    }
}

async fn discard(mut incoming: Incoming) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = incoming.frame().await {
        discarded += frame.data_ref().map_or(0, Bytes::len);
        if discarded > MAX_DISCARDED_BYTES {
            return;
        }
    }
}
