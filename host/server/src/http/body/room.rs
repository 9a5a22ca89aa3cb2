//! Reading bodies into a bounded memory that tenants share.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};
use weir_core::name::Name;
use weir_limits::charge::Charge;
use weir_limits::shares::{Share, Shares};

use crate::http::problem::{Problem, codes};

/// Smaller bodies are not counted: the request's head alone may cost more.
const UNCOUNTED_BYTES: usize = 4 << 10;
const KIB: usize = 1 << 10;
/// How long a request waits in total until there is memory for its body.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// How many bodies of one tenant wait for memory.
const MAX_WAITING: usize = 1_024;
/// For how long a body may be slower than its least rate. A new connection starts slowly.
const GRACE: Duration = Duration::from_secs(10);

/// The limits of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Its size in bytes.
    pub max_bytes: usize,
    /// The time from its first byte to its last.
    pub timeout: Duration,
    /// The least rate, after the first ten seconds. 0 allows any.
    pub min_bytes_per_second: u64,
}

impl BodyLimits {
    /// When the next byte of a body is due, `received` bytes after it `began`.
    fn due(&self, began: Instant, received: usize) -> Instant {
        let millis = (received as u64).saturating_mul(1_000).checked_div(self.min_bytes_per_second);
        let earned = millis.map_or(Duration::MAX, Duration::from_millis);
        began + self.timeout.min(GRACE.saturating_add(earned))
    }
}

/// The memory for bodies, shared by all connections: every one of them could be slow and hold
/// what it has sent so far. A tenant gets no more of it than is still free, so that there is room for
/// the next one.
#[derive(Debug)]
pub struct Room {
    kib: Shares<Name>,
}

/// Memory that is taken until it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    kib: Vec<Share<Name>>,
}

/// A body, and the memory that it takes.
#[derive(Debug)]
pub struct ChargedBody {
    /// All of its bytes.
    pub bytes: Bytes,
    /// The memory. It must be kept as long as anything that was made from the bytes.
    pub held: Held,
}

impl Room {
    /// `bytes` in total.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { kib: Shares::new(bytes.div_ceil(KIB), 1, MAX_WAITING) }
    }

    /// Reads all of a `body` that was sent to `tenant`. Memory is taken for what has arrived, not
    /// for what is announced. `headers` are those of the request.
    ///
    /// # Errors
    /// 413 if the body is too large, 408 if it takes too long or is too slow, 415 if it has a
    /// content encoding, 400 if it ends early, and 503 if there is no memory for it in time.
    pub async fn read<B>(
        &self,
        tenant: &Name,
        mut body: B,
        headers: &HeaderMap,
        limits: BodyLimits,
    ) -> Result<ChargedBody, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        refuse_encoding(headers)?;
        if body.size_hint().lower() > limits.max_bytes as u64 {
            return Err(too_large(limits));
        }
        let first = body.frame().now_or_never();
        if let Some(Some(Ok(frame))) = &first
            && body.is_end_stream()
            && let Some(data) = frame.data_ref()
            && data.len() <= UNCOUNTED_BYTES.min(limits.max_bytes)
        {
            // The usual body: it has come with the head. It needs no memory and no time limit.
            return Ok(ChargedBody { bytes: data.clone(), held: Held::default() });
        }
        let (room, began) = (self, Instant::now());
        let arriving =
            Arriving { room, tenant, limits, began, patience: MAX_WAIT, held: Held::default() };
        Box::pin(arriving.collect(first, body)).await
    }

    /// How much memory is free, in bytes.
    #[cfg(test)]
    fn free_bytes(&self) -> usize {
        self.kib.free() * KIB
    }
}

impl Held {
    fn kib(&self) -> usize {
        self.kib.iter().map(Share::units).sum()
    }

    /// Gives back what is not needed for `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let mut left = bytes.div_ceil(KIB);
        self.kib.retain_mut(|share| {
            share.shrink_to(left);
            left -= share.units();
            share.units() > 0
        });
    }

    /// The same, for those who share what was made from the body.
    #[must_use]
    pub fn charge(self) -> Charge {
        if self.kib.is_empty() { Charge::none() } else { Charge::of(self) }
    }
}

/// A body that is being read.
struct Arriving<'a> {
    room: &'a Room,
    tenant: &'a Name,
    limits: BodyLimits,
    /// When its first byte was waited for. Moved on by what the server itself makes it wait.
    began: Instant,
    /// How long it may still wait for memory.
    patience: Duration,
    held: Held,
}

impl Arriving<'_> {
    /// All of `body`, of which `came` is there already. If it is a single frame, it is not copied.
    async fn collect<B>(
        mut self,
        mut came: Option<Option<Result<Frame<Bytes>, B::Error>>>,
        mut body: B,
    ) -> Result<ChargedBody, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Display,
    {
        let mut first = Bytes::new();
        let mut all = Vec::new();
        while came.is_some() || !body.is_end_stream() {
            let received = first.len() + all.len();
            let frame = match came.take() {
                Some(frame) => frame,
                None => {
                    let due = self.limits.due(self.began, received);
                    let frame = timeout_at(due, body.frame()).await;
                    frame.map_err(|_| self.too_slow(received))?
                }
            };
            let frame = match frame {
                None => break,
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    let detail = format!("The body broke off: {error}.");
                    return Err(Problem::new(codes::INVALID_BODY, detail));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            let length = received + data.len();
            if length > self.limits.max_bytes {
                return Err(too_large(self.limits));
            }
            if received == 0 {
                self.take(length).await?;
                first = data;
                continue;
            }
            if length > all.capacity() {
                let announced =
                    body.size_hint().exact().and_then(|rest| usize::try_from(rest).ok());
                let most = announced.map_or(self.limits.max_bytes, |rest| length + rest);
                let capacity = length.max(length.saturating_mul(2).min(most));
                self.take(capacity).await?;
                all.reserve_exact(capacity - all.len());
            }
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        let bytes = if all.is_empty() { first } else { Bytes::from(all) };
        Ok(ChargedBody { bytes, held: self.held })
    }

    /// Takes memory, so that it is enough for `bytes`.
    async fn take(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes <= UNCOUNTED_BYTES {
            return Ok(());
        }
        let more = bytes.div_ceil(KIB).saturating_sub(self.held.kib());
        if more == 0 || self.held.kib.last_mut().is_some_and(|share| share.try_grow(more)) {
            return Ok(());
        }
        let asked = Instant::now();
        let taken = timeout(self.patience, self.room.kib.take(self.tenant, 1, more)).await;
        let waited = asked.elapsed();
        self.patience = self.patience.saturating_sub(waited);
        self.began += waited;
        let Ok(Ok(share)) = taken else {
            let detail = "There is no memory left for this tenant's bodies; try again soon.";
            return Err(Problem::new(codes::OVERLOADED, detail).retry_after(1));
        };
        self.held.kib.push(share);
        Ok(())
    }

    fn too_slow(&self, received: usize) -> Problem {
        let BodyLimits { timeout, min_bytes_per_second: rate, .. } = self.limits;
        let detail = if self.limits.due(self.began, received) < self.began + timeout {
            format!("The body arrives at less than {rate} bytes a second.")
        } else {
            format!("The body did not arrive within {} seconds.", timeout.as_secs_f64())
        };
        Problem::new(codes::BODY_TIMEOUT, detail)
    }
}

fn too_large(limits: BodyLimits) -> Problem {
    let max = limits.max_bytes;
    Problem::new(codes::TOO_LARGE, format!("The body may have at most {max} bytes."))
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use std::convert::Infallible;
    use std::pin::pin;

    use futures::channel::mpsc::{self, UnboundedReceiver, UnboundedSender};
    use http::HeaderValue;
    use http_body_util::StreamBody;

    use super::*;

    type Sent = Result<Frame<Bytes>, Infallible>;

    const LIMITS: BodyLimits = BodyLimits {
        max_bytes: 64 * KIB,
        timeout: Duration::from_secs(30),
        min_bytes_per_second: 1_000,
    };

    fn body() -> (UnboundedSender<Sent>, StreamBody<UnboundedReceiver<Sent>>) {
        let (sender, receiver) = mpsc::unbounded();
        (sender, StreamBody::new(receiver))
    }

    fn send(sender: &UnboundedSender<Sent>, bytes: usize) {
        sender.unbounded_send(Ok(Frame::data(vec![b'x'; bytes].into()))).unwrap();
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn announcing(bytes: usize) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(bytes))])
    }

    #[tokio::test]
    async fn memory_is_taken_for_what_has_arrived() {
        let room = Room::new(256 * KIB);
        let free_kib = || 256 - room.free_bytes() / KIB;
        let (sender, body) = body();
        let (tenant, headers) = (name("a"), announcing(60 * KIB));
        let mut reading = pin!(room.read(&tenant, body, &headers, LIMITS));
        // What has arrived, and what is taken then, in KiB.
        for (arrived, taken) in [(0, 0), (3, 0), (5, 16), (12, 40), (1, 40), (20, 64)] {
            if arrived > 0 {
                send(&sender, arrived * KIB);
            }
            assert!((&mut reading).now_or_never().is_none());
            assert_eq!(free_kib(), taken, "{arrived}");
        }
        drop(sender);
        let ChargedBody { bytes, mut held } = reading.await.unwrap();
        assert_eq!(bytes.len(), 41 * KIB);
        held.shrink_to(30 * KIB);
        assert_eq!(free_kib(), 30);
        let charge = held.charge();
        let follower = charge.clone();
        drop(charge);
        assert_eq!(free_kib(), 30);
        drop(follower);
        assert_eq!(free_kib(), 0);
    }

    #[tokio::test]
    async fn a_body_is_put_together_in_order() {
        for frames in [vec![], vec!["a"], vec!["", "a"], vec!["a", "", "bc"], vec!["ab", "c", "d"]]
        {
            let (sender, body) = body();
            for frame in &frames {
                sender.unbounded_send(Ok(Frame::data(Bytes::from(*frame)))).unwrap();
            }
            drop(sender);
            let room = Room::new(0);
            let body = room.read(&name("a"), body, &HeaderMap::new(), LIMITS).await.unwrap();
            assert_eq!(body.bytes, frames.concat());
        }
    }

    #[tokio::test]
    async fn a_tenant_gets_no_more_than_is_free_and_leaves_room_for_the_next() {
        let room = Room::new(64 * KIB);
        let read = async |tenant: &str, bytes| {
            let (sender, body) = body();
            send(&sender, bytes);
            drop(sender);
            let arriving = Arriving {
                room: &room,
                tenant: &name(tenant),
                limits: LIMITS,
                began: Instant::now(),
                patience: Duration::ZERO,
                held: Held::default(),
            };
            arriving.collect(None, body).await.map_err(|problem| problem.code().to_owned())
        };
        let a = read("a", 20 * KIB).await.unwrap();
        assert_eq!(read("a", 30 * KIB).await.unwrap_err(), "overloaded");
        let b = read("b", 40 * KIB).await.unwrap();
        assert_eq!(read("c", 5 * KIB).await.unwrap_err(), "overloaded");
        // What is small is not counted.
        read("c", 4 * KIB).await.unwrap();
        drop(a);
        read("c", 5 * KIB).await.unwrap();
        assert_eq!(read("c", 65 * KIB).await.unwrap_err(), "too-large");
        drop(b);
        assert_eq!(room.free_bytes(), 64 * KIB);
    }

    #[test]
    fn a_byte_is_due_after_a_grace_at_the_least_rate_and_within_the_timeout() {
        let began = Instant::now();
        for (received, rate, due) in [
            (0, 1_000, 10),
            (1_000, 1_000, 11),
            (15_000, 1_000, 25),
            (60_000, 1_000, 30),
            (0, 0, 30),
        ] {
            let limits = BodyLimits { min_bytes_per_second: rate, ..LIMITS };
            assert_eq!(limits.due(began, received) - began, Duration::from_secs(due), "{received}");
        }
    }

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
