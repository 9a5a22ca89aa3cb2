//! Answers on their way out, in pieces that know when they have been written.
//!
//! A piece is dropped by hyper when its last byte has been given to the system, which is not when
//! hyper has asked for it: over HTTP/2 it waits for the client's window. So the pieces themselves
//! carry the request in flight, what the answer takes of the memory, and the mark in [`Pace`](super::pace::Pace) that
//! something waits to be written. Out of scope: what to do about those that wait for too long
//! (`watcher`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use weir_limits::charge::Charge;

use super::pace::{Call, Waiting};
use crate::http::unread::UNCHARGED_BYTES;

/// A piece of an answer has at most this size. Each must be written within
/// `server.write_timeout_ms`, so that this is also the least that a client may read in that time.
const PIECE_BYTES: usize = UNCHARGED_BYTES;

/// The body of an answer.
pub(super) struct Outgoing {
    inner: Body,
    /// What `inner` has given and is still to be handed out.
    rest: Bytes,
    charge: Charge,
    /// `None` once the last piece has it.
    call: Option<Call>,
}

/// A piece of an answer.
pub(super) struct Piece {
    bytes: Bytes,
    _charge: Charge,
    _until_written: Option<UntilWritten>,
}

#[expect(dead_code, reason = "held until the piece is dropped")]
enum UntilWritten {
    /// The last piece ends the call.
    Call(Call),
    Waiting(Waiting),
}

impl Outgoing {
    /// Writes `inner`, the answer to `call`. `charge` is held until it has been written.
    pub(super) fn new(inner: Body, charge: Charge, mut call: Call) -> Self {
        call.answered();
        Self { inner, rest: Bytes::new(), charge, call: Some(call) }
    }

    fn next_piece(&mut self) -> Piece {
        let bytes = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        // The client has read enough for this to be asked for.
        let is_last = self.is_end_stream();
        let call = self.call.as_mut().map(Call::answered);
        let until_written = if is_last {
            self.call.take().map(UntilWritten::Call)
        } else {
            call.map(|call| UntilWritten::Waiting(call.wait()))
        };
        Piece { bytes, _charge: self.charge.clone(), _until_written: until_written }
    }
}

impl HttpBody for Outgoing {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => {
                    let trailers = other.into_trailers().ok().map(Frame::trailers).map(Ok);
                    return Poll::Ready(trailers);
                }
            }
        }
        Poll::Ready(Some(Ok(Frame::data(this.next_piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = of_inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(of_inner.lower() + rest);
        hint
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
    }
}
