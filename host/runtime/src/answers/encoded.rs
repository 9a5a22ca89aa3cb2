//! The encoding of a stored answer, for tiers outside this process.
//!
//! Format `ans1`, with numbers in little-endian order: the status (2 bytes), the content type, the
//! number of other headers (2 bytes), their names and values, the validator ([`ETAG_BYTES`]),
//! the length of the body (4 bytes) and the body. A content type, name or value is prefixed with
//! its length (2 bytes).
//!
//! Out of scope: what an entry adds to its value (`weir_cache::encoding`).

use std::sync::OnceLock;

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};
use weir_cache::encoding::{
    DecodeError, EncodeError, Portable, end, put_short, take, take_array, take_short,
};

use super::served::{ETAG_BYTES, StoredAnswer};

/// The most headers of one answer. Pipelines may set fewer.
const MAX_HEADERS: usize = 256;

/// What a header takes in memory in addition to its name and value.
const HEADER_BYTES: usize = 64;

impl Portable for StoredAnswer {
    const FORMAT: [u8; 4] = *b"ans1";

    fn weight_bytes(&self) -> u32 {
        let header = |(name, value): &(HeaderName, HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_BYTES
        };
        let headers: usize = self.headers.iter().map(header).sum();
        let parts = self.parts.as_ref().map_or(0, |parts| parts.weight_bytes());
        let bytes = size_of::<Self>() + self.body.len() + self.content_type.len() + headers + parts;
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let (what, size) = ("the list of headers", self.headers.len());
        if size > MAX_HEADERS {
            return Err(EncodeError::TooLarge { what, size, max: MAX_HEADERS });
        }
        out.put_u16_le(self.status.as_u16());
        put_short(out, "the content type", self.content_type.as_bytes())?;
        out.put_u16_le(size as u16);
        for (name, value) in &self.headers {
            put_short(out, "the name of a header", name.as_str().as_bytes())?;
            put_short(out, "a header", value.as_bytes())?;
        }
        out.put_slice(&self.etag);
        let size = self.body.len();
        let max = u32::MAX as usize;
        let length = u32::try_from(size).map_err(|_| EncodeError::TooLarge {
            what: "the body",
            size,
            max,
        })?;
        out.put_u32_le(length);
        out.put_slice(&self.body);
        Ok(())
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let from = &mut bytes;
        let status = StatusCode::from_u16(from.try_get_u16_le()?)
            .map_err(|_| DecodeError::Invalid("the status"))?;
        let content_type = take_value(from)?;
        let count = usize::from(from.try_get_u16_le()?);
        if count > MAX_HEADERS {
            return Err(DecodeError::Invalid("the number of headers"));
        }
        let headers = (0..count).map(|_| take_header(from)).collect::<Result<_, _>>()?;
        let etag: [u8; ETAG_BYTES] = take_array(from)?;
        if !is_etag(&etag) {
            return Err(DecodeError::Invalid("the validator"));
        }
        let body_bytes = from.try_get_u32_le()? as usize;
        let body = Bytes::copy_from_slice(take(from, body_bytes)?);
        end(from)?;
        let held = OnceLock::new();
        Ok(Self { status, content_type, headers, etag, body, parts: None, held })
    }
}

fn take_header(from: &mut &[u8]) -> Result<(HeaderName, HeaderValue), DecodeError> {
    let name = HeaderName::from_bytes(take_short(from)?)
        .map_err(|_| DecodeError::Invalid("the name of a header"))?;
    Ok((name, take_value(from)?))
}

fn take_value(from: &mut &[u8]) -> Result<HeaderValue, DecodeError> {
    HeaderValue::from_bytes(take_short(from)?).map_err(|_| DecodeError::Invalid("a header"))
}

fn is_etag(etag: &[u8]) -> bool {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    matches!(etag, [b'"', hex @ .., b'"'] if hex.iter().all(is_hex))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    const ETAG: &[u8; ETAG_BYTES] = b"\"0123456789abcdef0123456789abcdef\"";

    fn answer(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> StoredAnswer {
        let header = |(name, value): &(&str, &[u8])| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value).unwrap())
        };
        StoredAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
            headers: headers.iter().map(header).collect(),
            etag: *ETAG,
            body: Bytes::copy_from_slice(body),
            parts: None,
            held: OnceLock::new(),
        }
    }

    fn encoded(answer: &StoredAnswer) -> Vec<u8> {
        let mut out = Vec::new();
        answer.encode(&mut out).unwrap();
        out
    }

    /// Every field of an answer.
    fn shown(answer: &StoredAnswer) -> String {
        format!("{answer:?}")
    }

    #[test]
    fn format_1_stays_as_it_is() {
        let golden = [
            b"\xc8\0".as_slice(),
            b"\x19\0text/plain; charset=utf-8",
            b"\x02\0\x01\0a\x01\0b\x04\0link\0\0",
            ETAG,
            b"\x04\0\0\0body",
        ];
        let answer = answer(200, &[("a", b"b"), ("link", b"")], b"body");
        assert_eq!(encoded(&answer), golden.concat());
    }

    #[test]
    fn bytes_that_no_writer_writes_are_an_error() {
        const ETAG_AT: usize = 31;
        let bytes = encoded(&answer(200, &[], b"body"));
        let changed = |at: usize, to: &[u8]| {
            let mut changed = bytes.clone();
            changed[at..at + to.len()].copy_from_slice(to);
            StoredAnswer::decode(&changed).unwrap_err()
        };
        let invalid = DecodeError::Invalid;
        for (at, to, error) in [
            (0, &b"\x63\0"[..], invalid("the status")),
            (0, b"\xe8\x03", invalid("the status")),
            (4, b"\n", invalid("a header")),
            (29, b"\x01\x01", invalid("the number of headers")),
            (ETAG_AT, b"x", invalid("the validator")),
            (ETAG_AT + 1, b"A", invalid("the validator")),
            (ETAG_AT + 33, b"0", invalid("the validator")),
            (ETAG_AT + 34, b"\x05", DecodeError::Truncated),
            (ETAG_AT + 34, b"\x03", DecodeError::TrailingBytes),
            (ETAG_AT + 34, b"\xff\xff\xff\xff", DecodeError::Truncated),
        ] {
            assert_eq!(changed(at, to), error, "{to:x?} at {at}");
        }
        let (name, value) = (HeaderName::from_static("a"), HeaderValue::from_static("b"));
        let mut many = answer(200, &[], b"");
        many.headers = vec![(name, value); MAX_HEADERS];
        assert!(StoredAnswer::decode(&encoded(&many)).is_ok());
        many.headers.push(many.headers[0].clone());
        assert!(many.encode(&mut Vec::new()).is_err());
    }

    fn answers() -> impl Strategy<Value = StoredAnswer> {
        let value = || prop::collection::vec(0x20..=0x7e_u8, 0..12);
        let headers = prop::collection::vec(("[a-z][a-z0-9-]{0,10}", value()), 0..4);
        let body = prop::collection::vec(any::<u8>(), 0..60);
        (100..1000_u16, headers, body).prop_map(|(status, headers, body)| {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            answer(status, &headers, &body)
        })
    }

    proptest! {
        #[test]
        fn answers_survive_encoding(answer in answers()) {
            let read = StoredAnswer::decode(&encoded(&answer)).unwrap();
            prop_assert_eq!(shown(&read), shown(&answer));
            prop_assert_eq!(read.weight_bytes(), answer.weight_bytes());
        }

        #[test]
        fn every_truncation_is_an_error(answer in answers()) {
            let bytes = encoded(&answer);
            for length in 0..bytes.len() {
                let error = StoredAnswer::decode(&bytes[..length]).unwrap_err();
                prop_assert_eq!(error, DecodeError::Truncated);
            }
        }

        /// Decoding fails, or returns another valid answer that survives encoding.
        #[test]
        fn every_flipped_byte_is_an_error_or_another_answer(
            answer in answers(),
            flip in 1..=u8::MAX,
        ) {
            let bytes = encoded(&answer);
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= flip;
                if let Ok(read) = StoredAnswer::decode(&flipped) {
                    let again = StoredAnswer::decode(&encoded(&read)).unwrap();
                    prop_assert_eq!(shown(&again), shown(&read));
                }
            }
        }
    }
}
