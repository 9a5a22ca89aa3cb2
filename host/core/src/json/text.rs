//! The inside of a JSON string: runs of plain bytes, escapes, and the order of names.
//!
//! Out of scope: finding where a string starts and ends in unvalidated input; the reader does
//! that.

use std::cmp::Ordering;

/// The length of the longest prefix of `bytes` without `"`, `\` and control characters. Reads
/// eight bytes at a time, because prompts are long.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH_BITS: u64 = ONES << 7;
    // The lowest zero byte gets its high bit set; bytes above it may get theirs set too.
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGH_BITS;

    let (words, rest) = bytes.as_chunks::<8>();
    for (index, chunk) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH_BITS;
        let special = control
            | zero_bytes(word ^ (ONES * u64::from(b'"')))
            | zero_bytes(word ^ (ONES * u64::from(b'\\')));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let in_rest = rest.iter().take_while(|&&byte| is_plain(byte)).count();
    words.len() * 8 + in_rest
}

fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// Appends a character as canonical JSON writes it inside a string.
pub(super) fn push_canonical(out: &mut Vec<u8>, character: char) {
    const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
    match character {
        '"' => out.extend_from_slice(br#"\""#),
        '\\' => out.extend_from_slice(br"\\"),
        '\u{8}' => out.extend_from_slice(br"\b"),
        '\u{c}' => out.extend_from_slice(br"\f"),
        '\n' => out.extend_from_slice(br"\n"),
        '\r' => out.extend_from_slice(br"\r"),
        '\t' => out.extend_from_slice(br"\t"),
        '\0'..'\u{20}' => {
            let code = character as usize;
            out.extend_from_slice(br"\u00");
            out.extend_from_slice(&[HEX_DIGITS[code >> 4], HEX_DIGITS[code & 0xf]]);
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The character that a short escape represents, given the letter after the backslash.
pub(super) fn short_escape(letter: u8) -> Option<char> {
    Some(match letter {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

/// The number written by the four hexadecimal digits at the start of `bytes`.
pub(super) fn hex4(bytes: &[u8]) -> Option<u16> {
    bytes.get(..4)?.iter().try_fold(0, |number, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(number << 4 | value as u16)
    })
}

/// Compares two names, given as the insides of canonical strings, by their unescaped bytes.
pub(super) fn compare_names(left: &[u8], right: &[u8]) -> Ordering {
    for (&one, &other) in left.iter().zip(right) {
        if one == b'\\' || other == b'\\' {
            return unescaped(left).cmp(unescaped(right));
        }
        if one != other {
            return one.cmp(&other);
        }
    }
    // What one has more is at least a byte, escaped or not.
    left.len().cmp(&right.len())
}

/// Compares a name, given as the inside of a canonical string, with plain bytes.
pub(super) fn compare_name_to(name: &[u8], plain: &[u8]) -> Ordering {
    if has_escape(name) { unescaped(name).cmp(plain.iter().copied()) } else { name.cmp(plain) }
}

fn has_escape(name: &[u8]) -> bool {
    memchr::memchr(b'\\', name).is_some()
}

/// The unescaped bytes of the inside of a *canonical* string.
fn unescaped(inside: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = inside;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if first != b'\\' {
            rest = after;
            return Some(first);
        }
        let (&letter, after) = after.split_first()?;
        if let Some(character) = short_escape(letter) {
            rest = after;
            return u8::try_from(character).ok();
        }
        rest = after.get(4..)?;
        hex4(after).and_then(|code| u8::try_from(code).ok())
    })
}
