//! Positions in headers: what a client demands, and what an answer states.
//!
//! A position is written as a structured field (RFC 9651): an integer with the chain value as a
//! parameter, `123;chain=1a2b3c4d`. Out of scope: how a demanded position is reached
//! (`weir_runtime::tenant::reading`).

use std::cell::RefCell;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use weir_core::{Chain, Commit, Position};
use weir_runtime::tenant::Tenant;
use weir_runtime::tenant::reading::{Demand, Stated};
use weir_store::Past;

use super::problem::{Problem, codes};

/// The position that an answer is exact at, or that of a write.
pub(super) const POSITION: HeaderName = HeaderName::from_static("weir-position");
/// The positions of a split answer, by collection.
const POSITIONS: HeaderName = HeaderName::from_static("weir-positions");
/// The position that the client demands.
const MIN_POSITION: HeaderName = HeaderName::from_static("weir-min-position");
/// Whether what a pipeline wrote is searchable, or only durable.
const WRITES: HeaderName = HeaderName::from_static("weir-writes");

/// A demanded position, with the chain value that it must have if the client sent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    position: Position,
    chain: Option<Chain>,
}

/// What the request demands of a position of `tenant`; it waits for it for at most `patience`.
///
/// # Errors
/// The header is malformed, or the position is not one that the truth has given out.
pub(super) async fn demand(
    headers: &HeaderMap,
    tenant: &Tenant,
    patience: Duration,
) -> Result<Demand, Problem> {
    let at_least = match wanted(headers)? {
        Some(wanted) => {
            // Boxed, because few requests demand a position and each has room for this.
            Box::pin(check(wanted, tenant)).await?;
            wanted.position
        }
        None => Position::ZERO,
    };
    Ok(Demand { at_least, patience })
}

/// Checks a demand that the head of the truth satisfies, like every position that it has given
/// out.
///
/// # Errors
/// As for [`demand`].
pub(super) async fn check_demand(headers: &HeaderMap, tenant: &Tenant) -> Result<(), Problem> {
    demand(headers, tenant, Duration::ZERO).await.map(drop)
}

async fn check(wanted: Wanted, tenant: &Tenant) -> Result<(), Problem> {
    // The truth itself knows best: an answer can state a commit that is announced a moment later.
    if wanted.chain.is_none() && wanted.position <= tenant.documents.head().position {
        return Ok(());
    }
    let past = tenant.truth.history(wanted.position).await?;
    let detail = match (past, wanted.chain) {
        (Past::NotYet, _) => "This server has not given out that position.",
        (Past::Known(chain), Some(wanted)) if chain != wanted => {
            "That position is of another history: the documents were restored from a copy. Read \
             again without Weir-Min-Position."
        }
        (Past::Known(_) | Past::Forgotten, _) => return Ok(()),
    };
    Err(Problem::new(codes::UNKNOWN_POSITION, detail))
}

fn wanted(headers: &HeaderMap) -> Result<Option<Wanted>, Problem> {
    let Some(value) = headers.get(&MIN_POSITION) else { return Ok(None) };
    let once = headers.get_all(&MIN_POSITION).iter().nth(1).is_none();
    let wanted = value.to_str().ok().and_then(parse).filter(|_| once);
    wanted.map(Some).ok_or_else(|| {
        let detail = "Weir-Min-Position is a position, with or without its chain value: '123' or \
                      '123;chain=1a2b3c4d'.";
        Problem::new(codes::INVALID_HEADER, detail)
    })
}

fn parse(text: &str) -> Option<Wanted> {
    let (number, parameter) = match text.trim().split_once(';') {
        Some((number, parameter)) => (number, Some(parameter)),
        None => (text.trim(), None),
    };
    let digits = (1..=18).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    let position = Position(number.parse().ok().filter(|_| digits)?);
    let chain = match parameter {
        Some(parameter) => {
            Some(parameter.trim_start_matches(' ').strip_prefix("chain=")?.parse().ok()?)
        }
        None => None,
    };
    Some(Wanted { position, chain })
}

/// Adds the position to the headers of a response.
pub(super) fn stamp(headers: &mut HeaderMap, commit: Commit) {
    headers.insert(POSITION, value(commit));
}

/// Adds what an answer of a pipeline states.
pub(super) fn stamp_stated(headers: &mut HeaderMap, stated: &Stated) {
    match stated {
        Stated::At(commit) => stamp(headers, *commit),
        Stated::Split(positions) => {
            // Names need no escapes in a quoted string.
            let position = |(name, at): &(_, Commit)| {
                format!("\"{name}\";p={};chain={}", at.position, at.chain)
            };
            let text = positions.iter().map(position).collect::<Vec<_>>().join(", ");
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(POSITIONS, value);
            }
        }
    }
}

/// Says whether what a pipeline wrote is searchable.
pub(super) fn stamp_writes(headers: &mut HeaderMap, searchable: bool) {
    let state = if searchable { "searchable" } else { "durable" };
    headers.insert(WRITES, HeaderValue::from_static(state));
}

/// The value for a commit. Most answers of a thread state the same commit as the one before, so the
/// last value is kept.
fn value(commit: Commit) -> HeaderValue {
    thread_local! {
        static LAST: RefCell<Option<(Commit, HeaderValue)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((of, value)) if *of == commit => value.clone(),
        _ => last.insert((commit, written(commit))).1.clone(),
    })
}

fn written(commit: Commit) -> HeaderValue {
    let mut text: SmallVec<[u8; 40]> = SmallVec::new();
    text.extend_from_slice(itoa::Buffer::new().format(commit.position.0).as_bytes());
    text.extend_from_slice(b";chain=");
    let mut digits = *b"00000000";
    for (place, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(commit.chain.0 >> (4 * place)) as usize & 15];
    }
    text.extend_from_slice(&digits);
    // Digits and fixed ASCII: never refused.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from(commit.position.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demand_is_a_position_with_or_without_its_chain_value() {
        let chain = Some(Chain(0x1a2b_3c4d));
        for (text, parsed) in [
            ("0", Some((0, None))),
            ("123", Some((123, None))),
            (" 123 ", Some((123, None))),
            ("123;chain=1a2b3c4d", Some((123, chain))),
            ("123; chain=1a2b3c4d", Some((123, chain))),
            ("999999999999999999", Some((999_999_999_999_999_999, None))),
            ("1000000000000000000", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("0x10", None),
            ("123;", None),
            ("123;chain=", None),
            ("123;chain=1A2B3C4D", None),
            ("123;chain=1a2b3c4", None),
            ("123;other=1a2b3c4d", None),
            ("123;chain=1a2b3c4d;x=1", None),
            ("1, 2", None),
        ] {
            let parsed = parsed.map(|(at, chain)| Wanted { position: Position(at), chain });
            assert_eq!(parse(text), parsed, "{text:?}");
        }
    }

    #[test]
    fn what_is_stated_can_be_demanded() {
        let commits =
            [(0, 0), (7, u32::MAX), (7, u32::MAX), (7, 1), (999_999_999_999_999_999, 0xab_cdef)];
        for (at, chain) in commits {
            let commit = Commit { position: Position(at), chain: Chain(chain) };
            let written = value(commit);
            let text = written.to_str().unwrap_or_default();
            assert_eq!(text, commit.to_string());
            assert_eq!(
                parse(text).map(|wanted| (wanted.position, wanted.chain)),
                Some((commit.position, Some(commit.chain)))
            );
        }
    }
}
