//! When a certificate expires, which rustls does not say.
//!
//! Reads as much of a certificate (RFC 5280) as is before that, and nothing else: a parser of all of it
//! would be a dozen crates for one time. Out of scope: whether the certificate is valid, which is for clients
//! to judge.

use std::fmt;

/// A time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

const SEQUENCE: u8 = 0x30;
/// Before the serial number, unless the certificate is of the first version.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the certificate with this encoding (DER) expires; `None` if it is not one.
pub(super) fn expiry(certificate: &[u8]) -> Option<Time> {
    let (signed, _) = expect(SEQUENCE, certificate)?;
    let (signed, _) = expect(SEQUENCE, signed)?;
    let (tag, _, after_version) = element(signed)?;
    let serial = if tag == VERSION { after_version } else { signed };
    let (_, _, algorithm) = element(serial)?;
    let (_, _, issuer) = element(algorithm)?;
    let (_, _, validity) = element(issuer)?;
    let (validity, _) = expect(SEQUENCE, validity)?;
    let (_, _, not_after) = element(validity)?;
    let (tag, text, _) = element(not_after)?;
    Time::parse(tag, text)
}

fn expect(expected: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == expected).then_some((content, rest))
}

/// The tag and the content of the first element, and what follows it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

impl Time {
    /// Reads `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, the only forms that certificates may have.
    fn parse(tag: u8, text: &[u8]) -> Option<Self> {
        let digits = text.strip_suffix(b"Z")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number =
            |digits: &[u8]| digits.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
        let (year, rest) = match (tag, digits.len()) {
            (UTC_TIME, 12) => {
                let year = number(&digits[..2]);
                (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
            }
            (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
            _ => return None,
        };
        let mut parts = rest.chunks(2).map(number);
        let mut part = |least: i64, most: i64| parts.next().filter(|n| (least..=most).contains(n));
        Some(Self {
            year,
            month: part(1, 12)?,
            day: part(1, 31)?,
            hour: part(0, 23)?,
            minute: part(0, 59)?,
            second: part(0, 59)?,
        })
    }

    /// Seconds since 1970.
    pub(super) fn unix_seconds(self) -> i64 {
        let Self { year, month, day, hour, minute, second } = self;
        // Years that begin in March, so that the leap day is the last of one.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let of_years =
            year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        // From March on, every five months have 153 days.
        let days = of_years + (month * 153 + 2) / 5 + day - 1;
        const BEFORE_1970: i64 = 719_468;
        ((days - BEFORE_1970) * 24 + hour) * 3_600 + minute * 60 + second
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut made = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        made.not_before = date_time_ymd(1980, 1, 1);
        made.not_after = date_time_ymd(year, month, day);
        made.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn certificates_say_when_they_expire() {
        for (year, month, day) in [
            (1981, 1, 1),
            (2000, 2, 29),
            (2000, 3, 1),
            (2024, 2, 29),
            (2026, 12, 31),
            (2049, 12, 31),
            // From here on, the year has four digits.
            (2050, 1, 1),
            (2100, 2, 28),
            (2100, 3, 1),
            (4096, 1, 1),
        ] {
            let expires = expiry(&certificate(year, month, day)).unwrap();
            assert_eq!(expires.to_string(), format!("{year}-{month:02}-{day:02}T00:00:00Z"));
            let expected = date_time_ymd(year, month, day).unix_timestamp();
            assert_eq!(expires.unix_seconds(), expected, "{expires}");
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_time() {
        let whole = certificate(2030, 1, 1);
        // Nothing is read beyond what is there.
        for end in 0..whole.len() {
            assert_eq!(expiry(&whole[..end]), None, "{end}");
        }
        for end in 0..whole.len().min(200) {
            let mut other = whole.clone();
            for byte in [0x00, 0x7f, 0x80, 0x84, 0xff] {
                other[end] = byte;
                let _ = expiry(&other);
            }
        }
        for (tag, text) in [
            (UTC_TIME, &b"300101000000"[..]),
            (UTC_TIME, b"20300101000000Z"),
            (GENERALIZED_TIME, b"300101000000Z"),
            (GENERALIZED_TIME, b"20301301000000Z"),
            (GENERALIZED_TIME, b"20300100000000Z"),
            (GENERALIZED_TIME, b"20300101240000Z"),
            (GENERALIZED_TIME, b"2030010100000xZ"),
            (0x04, b"20300101000000Z"),
        ] {
            assert_eq!(Time::parse(tag, text), None, "{}", text.escape_ascii());
        }
    }
}
