//! Request bodies, read as a whole within a size limit and a timeout.
//!
//! [`RequestBody`] makes sure that a refusal reaches its client. Many clients send their whole
//! body before they read, and lose the response if the connection is closed before then. So
//! when a body is dropped unread, the rest of it is read and discarded, up to 64 MiB or 5 s,
//! while the response is already being sent. A client that waits for `100 Continue` sends no
//! body without it, so there is nothing to discard. Out of scope: what the bytes mean.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::problem::{Problem, codes};

/// Smaller bodies are not counted: the request's head alone may cost more.
const UNCOUNTED_BYTES: usize = 4 << 10;
const KIB: usize = 1 << 10;
/// How long a request waits until there is memory for its body.
const MAX_WAIT: Duration = Duration::from_secs(1);
const MAX_DISCARDED_BYTES: usize = 64 << 20;
const MAX_DISCARD_TIME: Duration = Duration::from_secs(5);

/// The limits of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Its size in bytes.
    pub max_bytes: usize,
    /// The time from its first byte to its last.
    pub timeout: Duration,
}

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

/// The memory budget for bodies, shared by all connections. Every one of them could be slow
/// and hold what it has sent so far.
#[derive(Debug)]
pub struct Room {
    kib: Semaphore,
}

impl Room {
    /// A budget of `bytes` in total.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { kib: Semaphore::new(bytes.div_ceil(KIB).min(Semaphore::MAX_PERMITS)) }
    }

    /// Reads all of `body` as [`read`] does, once there is memory for the length that its
    /// headers announce, or for the limit if they announce none.
    ///
    /// # Errors
    /// Those of [`read`], and 503 if there is not enough memory in time.
    pub async fn read<B>(
        &self,
        body: B,
        headers: &HeaderMap,
        limits: BodyLimits,
    ) -> Result<Bytes, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let announced = headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes: usize = announced.unwrap_or(limits.max_bytes).min(limits.max_bytes);
        if bytes <= UNCOUNTED_BYTES {
            return read(body, headers, limits).await;
        }
        let _held = self.hold(u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX)).await?;
        read(body, headers, limits).await
    }

    async fn hold(&self, kib: u32) -> Result<SemaphorePermit<'_>, Problem> {
        if let Ok(held) = self.kib.try_acquire_many(kib) {
            return Ok(held);
        }
        match timeout(MAX_WAIT, self.kib.acquire_many(kib)).await {
            Ok(Ok(held)) => Ok(held),
            Ok(Err(_)) | Err(_) => {
                let detail = "Too many bodies are being read.";
                Err(Problem::new(codes::OVERLOADED, detail).retry_after(1))
            }
        }
    }
}

/// Reads all of `body`. `headers` are those of the request; a body with a content encoding is
/// refused.
///
/// # Errors
/// 413 if the body is too large, 408 if it takes too long, 415 if it has a content encoding,
/// and 400 if it ends early.
pub async fn read<B>(body: B, headers: &HeaderMap, limits: BodyLimits) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    refuse_encoding(headers)?;
    let too_large = || {
        let max = limits.max_bytes;
        Problem::new(codes::TOO_LARGE, format!("The body may have at most {max} bytes."))
    };
    if body.size_hint().lower() > limits.max_bytes as u64 {
        return Err(too_large());
    }
    match timeout(limits.timeout, collect(body, limits.max_bytes)).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => {
            Err(Problem::new(codes::INVALID_BODY, format!("The body broke off: {error}.")))
        }
        Err(_) => {
            let seconds = limits.timeout.as_secs_f64();
            let detail = format!("The body did not arrive within {seconds} seconds.");
            Err(Problem::new(codes::BODY_TIMEOUT, detail))
        }
    }
}

/// All of `body`, or `None` if it has more than `max_bytes`. A body of a single frame, the
/// usual case, is not copied.
async fn collect<B>(mut body: B, max_bytes: usize) -> Result<Option<Bytes>, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if first.len().max(all.len()) + data.len() > max_bytes {
            return Ok(None);
        }
        if first.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(first.len() + usize::try_from(body.size_hint().lower()).unwrap_or(0));
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&data);
    }
    Ok(Some(if all.is_empty() { first } else { all.freeze() }))
}

fn refuse_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let coded = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        let detail = "Send the body as it is: no content encoding is supported.";
        return Err(Problem::new(codes::UNSUPPORTED_ENCODING, detail));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_the_identity_encoding_is_read() {
        for (encoding, accepted) in
            [("identity", true), ("Identity", true), ("gzip", false), ("br", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
            assert_eq!(refuse_encoding(&headers).is_ok(), accepted, "{encoding}");
        }
        assert!(refuse_encoding(&HeaderMap::new()).is_ok());
    }
}
