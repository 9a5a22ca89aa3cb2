//! The section of a component's file that has its manifest: a custom section named `weir:manifest`,
//! at the top level. So one digest names both, and a manifest cannot change without becoming another
//! version.
//!
//! Only the framing of the top level is read: a header, and sections of an id, a length and so many
//! bytes. The file may be hostile. Out of scope: what is in the other sections, which wasmtime checks,
//! and what the manifest says ([`super::manifest`]).

use std::ops::Range;
use std::str;

use thiserror::Error;

/// The longest manifest.
pub const MAX_MANIFEST_BYTES: usize = 256 << 10;

/// The name of the section.
const NAME: &str = "weir:manifest";
/// The id of custom sections.
const CUSTOM: u8 = 0;
/// What a component begins with: magic, version 13, layer 1.
const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// Why a manifest cannot be read from a component, or put into it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SectionError {
    /// It does not begin with the header of a component.
    #[error("the file is not a WebAssembly component: it does not start with the header of one")]
    NotAComponent,
    /// A section does not end within the file, or its length or name cannot be read.
    #[error("the component is damaged: the section at byte {at} is not whole")]
    Damaged {
        /// Where the section starts.
        at: usize,
    },
    /// It has several manifests.
    #[error("the component has several sections '{NAME}'; a plugin has one manifest")]
    Several,
    /// The manifest is too long.
    #[error("the manifest has {bytes} bytes, but at most {MAX_MANIFEST_BYTES} are read")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The manifest is not text.
    #[error("the manifest is not UTF-8")]
    NotUtf8,
}

/// Puts `manifest` into `component`, in place of one that it may have.
///
/// # Errors
/// `component` is not a component, or `manifest` is too long.
pub fn embed(component: &[u8], manifest: &str) -> Result<Vec<u8>, SectionError> {
    let bytes = manifest.len();
    if bytes > MAX_MANIFEST_BYTES {
        return Err(SectionError::TooLarge { bytes });
    }
    let mut embedded = Vec::with_capacity(component.len() + NAME.len() + bytes + 16);
    embedded.extend_from_slice(HEADER);
    for section in sections(component)? {
        let Section { whole, manifest, .. } = section?;
        if manifest.is_none() {
            embedded.extend_from_slice(&component[whole]);
        }
    }
    let mut content = Vec::with_capacity(NAME.len() + bytes + 8);
    write_length(NAME.len(), &mut content);
    content.extend_from_slice(NAME.as_bytes());
    content.extend_from_slice(manifest.as_bytes());
    embedded.push(CUSTOM);
    write_length(content.len(), &mut embedded);
    embedded.extend_from_slice(&content);
    Ok(embedded)
}

/// The manifest in `component`, if it has one.
///
/// # Errors
/// `component` is not a component, is damaged, or has several manifests; or the manifest is too long or
/// not UTF-8.
pub fn extract(component: &[u8]) -> Result<Option<&str>, SectionError> {
    let mut found = None;
    for section in sections(component)? {
        if let Some(manifest) = section?.manifest
            && found.replace(manifest).is_some()
        {
            return Err(SectionError::Several);
        }
    }
    let Some(manifest) = found else { return Ok(None) };
    if manifest.len() > MAX_MANIFEST_BYTES {
        return Err(SectionError::TooLarge { bytes: manifest.len() });
    }
    str::from_utf8(manifest).map(Some).map_err(|_| SectionError::NotUtf8)
}

/// A section at the top level.
struct Section<'a> {
    /// Its place in the file, with its id and its length.
    whole: Range<usize>,
    /// The manifest, if this is its section.
    manifest: Option<&'a [u8]>,
}

/// The sections of a component. After an error there are no more.
fn sections(
    component: &[u8],
) -> Result<impl Iterator<Item = Result<Section<'_>, SectionError>>, SectionError> {
    let mut rest = component.strip_prefix(HEADER).ok_or(SectionError::NotAComponent)?;
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let start = component.len() - rest.len();
        let Some((id, content)) = read_section(&mut rest) else {
            rest = &[];
            return Some(Err(SectionError::Damaged { at: start }));
        };
        let mut manifest = None;
        if id == CUSTOM {
            let mut content = content;
            let Some(name) = read_bytes(&mut content) else {
                rest = &[];
                return Some(Err(SectionError::Damaged { at: start }));
            };
            manifest = (name == NAME.as_bytes()).then_some(content);
        }
        Some(Ok(Section { whole: start..component.len() - rest.len(), manifest }))
    }))
}

fn read_section<'a>(from: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (id, rest) = from.split_first()?;
    *from = rest;
    Some((*id, read_bytes(from)?))
}

/// Reads a length, and so many bytes.
fn read_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_length(from)?;
    let (bytes, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(bytes)
}

/// Reads a length: an unsigned number of 32 bits in LEB128, in at most 5 bytes.
fn read_length(from: &mut &[u8]) -> Option<usize> {
    let mut length = 0_u32;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        let bits = u32::from(byte & 0x7f);
        if shift == 28 && bits > 0xf {
            return None;
        }
        length |= bits << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(length).ok();
        }
    }
    None
}

/// Writes a length that fits in 32 bits.
fn write_length(mut length: usize, to: &mut Vec<u8>) {
    while length >= 0x80 {
        to.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    to.push(length as u8);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::slice;

    use proptest::prelude::*;

    use super::*;

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        let mut section = vec![id];
        write_length(content.len(), &mut section);
        section.extend_from_slice(content);
        section
    }

    fn custom(name: &[u8], content: &[u8]) -> Vec<u8> {
        let mut named = Vec::new();
        write_length(name.len(), &mut named);
        section(CUSTOM, &[named.as_slice(), name, content].concat())
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [HEADER, &sections.concat()].concat()
    }

    #[test]
    fn the_manifest_is_found_at_the_top_level_only() {
        let ours = |text: &str| custom(NAME.as_bytes(), text.as_bytes());
        let nested = section(4, &component(&[ours("inner")]));
        let other = custom(b"name", b"\xff");
        let too_long = "a".repeat(MAX_MANIFEST_BYTES + 1);
        let longest = "a".repeat(MAX_MANIFEST_BYTES);
        let bytes = too_long.len();
        for (sections, expected) in [
            (vec![], Ok(None)),
            (vec![other.clone(), nested.clone()], Ok(None)),
            (vec![other.clone(), ours("outer"), nested.clone()], Ok(Some("outer"))),
            (vec![nested, other, ours("")], Ok(Some(""))),
            (vec![ours("a"), ours("a")], Err(SectionError::Several)),
            (vec![custom(NAME.as_bytes(), b"\xff")], Err(SectionError::NotUtf8)),
            (vec![ours(&too_long)], Err(SectionError::TooLarge { bytes })),
            (vec![ours(&longest)], Ok(Some(longest.as_str()))),
            (vec![custom(b"weir:manifest2", b"x")], Ok(None)),
            (vec![section(1, b"weir:manifest")], Ok(None)),
        ] {
            assert_eq!(extract(&component(&sections)), expected);
        }
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let module = b"\0asm\x01\0\0\0".to_vec();
        assert_eq!(extract(&module), Err(SectionError::NotAComponent));
        assert_eq!(extract(b""), Err(SectionError::NotAComponent));
        let damaged = Err(SectionError::Damaged { at: 8 });
        for section in [
            vec![0],
            vec![0, 0],
            vec![1, 2, 0],
            vec![0, 2, 2, 0],
            vec![1, 0x80],
            // More than 32 bits, and more bytes than they need.
            vec![1, 0x80, 0x80, 0x80, 0x80, 0x10],
            vec![1, 0xff, 0xff, 0xff, 0xff, 0x0f],
            vec![1, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert_eq!(extract(&component(slice::from_ref(&section))), damaged, "{section:?}");
        }
        // A length may be written with more bytes than it needs, up to five.
        let mut long = component(&[vec![1, 0x81, 0x80, 0x80, 0x80, 0, 7]]);
        assert_eq!(extract(&long), Ok(None));
        long.pop();
        assert_eq!(extract(&long), damaged);
    }

    #[test]
    fn wasmtime_accepts_what_is_embedded() {
        let embedded = embed(HEADER, "name = 'a'").unwrap();
        let engine = wasmtime::Engine::default();
        wasmtime::component::Component::from_binary(&engine, &embedded).unwrap();
    }

    #[test]
    fn a_manifest_that_is_too_long_is_not_embedded() {
        let error = embed(HEADER, &"a".repeat(MAX_MANIFEST_BYTES + 1)).unwrap_err();
        assert_eq!(error, SectionError::TooLarge { bytes: MAX_MANIFEST_BYTES + 1 });
    }

    fn any_section() -> impl Strategy<Value = Vec<u8>> {
        let content = || prop::collection::vec(any::<u8>(), 0..200);
        prop_oneof![
            (1..12_u8, content()).prop_map(|(id, content)| section(id, &content)),
            (content(), content()).prop_map(|(name, content)| custom(&name, &content)),
            content().prop_map(|content| custom(NAME.as_bytes(), &content)),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = extract(&bytes);
            let _ = extract(&component(&[bytes]));
        }

        #[test]
        fn what_is_embedded_is_found_and_the_rest_stays(
            sections in prop::collection::vec(any_section(), 0..8),
            manifest in ".{0,300}",
        ) {
            let before = component(&sections);
            let embedded = embed(&before, &manifest).unwrap();
            prop_assert_eq!(extract(&embedded), Ok(Some(manifest.as_str())));
            let is_other = |section: &&Vec<u8>| !matches!(
                extract(&component(&[section.to_vec()])),
                Ok(Some(_)) | Err(SectionError::NotUtf8)
            );
            let others: Vec<_> = sections.iter().filter(is_other).cloned().collect();
            prop_assert!(embedded.starts_with(&component(&others)));
            prop_assert_eq!(embed(&embedded, &manifest).unwrap(), embedded);
        }

        #[test]
        fn a_truncated_file_has_no_other_manifest(
            sections in prop::collection::vec(any_section(), 0..4),
            manifest in ".{0,300}",
            cut in any::<prop::sample::Index>(),
        ) {
            let embedded = embed(&component(&sections), &manifest).unwrap();
            let cut = cut.index(embedded.len());
            // The manifest is the last section: no shorter file has it.
            prop_assert_ne!(extract(&embedded[..cut]), Ok(Some(manifest.as_str())));
        }
    }
}
