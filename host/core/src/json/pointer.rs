//! JSON pointers (RFC 6901), resolved by scanning canonical text.
//!
//! The scan relies on what the reader guarantees: the text is valid, it has no whitespace, and
//! members are sorted, so a search can stop early.

use std::{borrow::Cow, cmp::Ordering};

use super::text::compare_name_to;

pub(super) fn find<'t>(text: &'t [u8], pointer: &str) -> Option<&'t [u8]> {
    if pointer.is_empty() {
        return Some(text);
    }
    pointer.strip_prefix('/')?.split('/').try_fold(text, |value, token| match value.first()? {
        b'{' => member(value, unescape_token(token)?.as_bytes()),
        b'[' => element(value, index(token)?),
        _ => None,
    })
}

fn unescape_token(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
    let mut pieces = token.split('~');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        name.push(match piece.bytes().next()? {
            b'0' => '~',
            b'1' => '/',
            _ => return None,
        });
        name.push_str(&piece[1..]);
    }
    Some(Cow::Owned(name))
}

/// An array index: digits without a leading zero. (`-`, the element after the last, never
/// exists.)
fn index(token: &str) -> Option<usize> {
    let digits_only = token.bytes().all(|byte| byte.is_ascii_digit());
    if !digits_only || (token.len() > 1 && token.starts_with('0')) {
        return None;
    }
    token.parse().ok()
}

fn member<'t>(object: &'t [u8], name: &[u8]) -> Option<&'t [u8]> {
    let mut at = 1;
    while object.get(at) == Some(&b'"') {
        let name_end = string_end(object, at)?;
        let value_start = name_end + 1;
        match compare_name_to(&object[at + 1..name_end - 1], name) {
            Ordering::Equal => return object.get(value_start..value_end(object, value_start)?),
            Ordering::Greater => return None,
            Ordering::Less => at = value_end(object, value_start)? + 1,
        }
    }
    None
}

fn element(array: &[u8], index: usize) -> Option<&[u8]> {
    let mut at = 1;
    for _ in 0..index {
        at = value_end(array, at)?;
        if array.get(at) != Some(&b',') {
            return None;
        }
        at += 1;
    }
    let end = value_end(array, at)?;
    // Empty only when an empty array closes.
    array.get(at..end).filter(|element| !element.is_empty())
}

/// The end of the value that starts at `at`.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => container_end(text, at),
        _ => Some(at + scalar_length(&text[at..])),
    }
}

/// The end of the array or object whose opening bracket is at `at`.
fn container_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The length of a number, `true`, `false` or `null`.
fn scalar_length(text: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']');
    text.iter().position(ends).unwrap_or(text.len())
}

/// The end of the string whose opening quote is at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}
