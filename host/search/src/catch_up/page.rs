//! One page of a collection's log: its lines become the state at the last of them.
//!
//! The net effect of the lines is what the index needs, so each document is read once, in the
//! version that it had at the page's last position. A page ends with its last roll, because the
//! statistics of an epoch are those of the state at its roll. A version that is set aside counts as it
//! is indexed, without chunks, although its commit rolled by those that it has: both are in the truth.
//! Where the model changes, the statistics begin anew as at a roll; an index of the old model ends before.

use std::collections::BTreeMap;

use weir_core::fault::{self, Fault};
use weir_core::name::{DocumentId, Name};
use weir_core::{Commit, Position};
use weir_store::{Change, ChangeKind};

use super::index::index;
use super::{CatchUpError, Shared};
use crate::{Base, Epoch, IndexPage};

/// A page that can be applied, and the lines that it is made of: none if it is rebuilt.
pub(super) struct Prepared {
    pub(super) page: IndexPage,
    pub(super) lines: Vec<Change>,
}

/// The page after a commit; `None` if there are no lines after it.
pub(super) async fn prepare(
    shared: &Shared,
    collection: &Name,
    after: Commit,
) -> Result<Option<Prepared>, CatchUpError> {
    let limit = match fault::is(Fault::PageReadsNewest) {
        // So short that there are later lines to be wrong about.
        true => 1,
        false => shared.settings.page_lines,
    };
    let mut lines = shared.truth.log(collection, after.position, limit).await?;
    end_before_another_model(&mut lines, shared.model_since);
    end_with_last_roll(&mut lines);
    let Some(up_to) = lines.last().map(|line| line.commit) else { return Ok(None) };
    let Net { base, documents, rolled } = net_effect(&lines);
    let written: Vec<_> = documents
        .iter()
        .filter(|(_, written)| **written)
        .map(|(id, _)| DocumentId::clone(id))
        .collect();
    let mut indexed = BTreeMap::new();
    let at = match fault::is(Fault::PageReadsNewest) {
        true => shared.truth.head().await?.position,
        false => up_to.position,
    };
    let read = shared.truth.documents_at(collection, &written, at).await?;
    for (id, document) in index(shared, collection, read).await? {
        indexed.insert(id, document);
    }
    let documents = documents
        .into_iter()
        .map(|(id, written)| match (written, indexed.remove(&id)) {
            (true, None) if !fault::is(Fault::PageReadsNewest) => Err(CatchUpError::Damaged(id)),
            (_, document) => Ok((id, document)),
        })
        .collect::<Result<_, _>>()?;
    let rolled = rolled || (fault::is(Fault::RollByBatch) && !written.is_empty());
    let epoch = if rolled { Epoch::Rolled } else { Epoch::Kept };
    let page = IndexPage { collection: collection.clone(), up_to, base, documents, epoch };
    Ok(Some(Prepared { page, lines }))
}

/// Drops the lines from which on answers are made with another model than the index's, with which
/// they are made since `since`.
fn end_before_another_model(lines: &mut Vec<Change>, since: Option<Position>) {
    let Some(since) = since else { return };
    let is_later =
        |line: &Change| line.kind == ChangeKind::ModelChanged && line.commit.position > since;
    if let Some(end) = lines.iter().position(is_later) {
        lines.truncate(end);
    }
}

/// Drops the lines after the last roll: they are the next page's. A roll before the collection was
/// created or dropped does not matter any more.
fn end_with_last_roll(lines: &mut Vec<Change>) {
    let ends = |line: &Change| match line.kind {
        ChangeKind::Rolled | ChangeKind::ModelChanged => Some(true),
        ChangeKind::CollectionCreated | ChangeKind::CollectionDeleted => Some(false),
        ChangeKind::DocumentPut(_) | ChangeKind::DocumentDeleted(_) => None,
    };
    let last = lines.iter().enumerate().rev().find_map(|(n, line)| Some((n, ends(line)?)));
    if let Some((roll, true)) = last {
        // The roll is the last line of its commit.
        lines.truncate(roll + 1);
    }
}

struct Net {
    base: Base,
    /// Whether each document is written at the end, or deleted.
    documents: BTreeMap<DocumentId, bool>,
    rolled: bool,
}

fn net_effect(lines: &[Change]) -> Net {
    let mut net = Net { base: Base::Kept, documents: BTreeMap::new(), rolled: false };
    for line in lines {
        match &line.kind {
            ChangeKind::CollectionCreated => {
                net = Net { base: Base::Empty, documents: BTreeMap::new(), rolled: false };
            }
            ChangeKind::CollectionDeleted => {
                net = Net { base: Base::Gone, documents: BTreeMap::new(), rolled: false };
            }
            ChangeKind::DocumentPut(id) => drop(net.documents.insert(id.clone(), true)),
            ChangeKind::DocumentDeleted(id) => drop(net.documents.insert(id.clone(), false)),
            ChangeKind::Rolled | ChangeKind::ModelChanged => net.rolled = true,
        }
    }
    net
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

    use super::*;
    use weir_core::Chain;

    /// `+`, `-`: the collection created, dropped; `x+`, `x-`: a document put, deleted; `!`: rolled;
    /// `m`: the model changed. Each is a commit of its own but for rolls, which belong to the one
    /// before.
    fn lines(text: &str) -> Vec<Change> {
        let mut position = 0;
        let line = |line: &str| {
            let (document, sign) = line.split_at(line.len() - 1);
            let kind = match (DocumentId::new(document), sign) {
                (Ok(id), "+") => ChangeKind::DocumentPut(id),
                (Ok(id), _) => ChangeKind::DocumentDeleted(id),
                (Err(_), "+") => ChangeKind::CollectionCreated,
                (Err(_), "-") => ChangeKind::CollectionDeleted,
                (Err(_), "m") => ChangeKind::ModelChanged,
                (Err(_), _) => ChangeKind::Rolled,
            };
            position += u64::from(kind != ChangeKind::Rolled);
            let commit = Commit { position: Position(position), chain: Chain(0) };
            Change { commit, committed_unix_ms: 0, kind }
        };
        text.split_whitespace().map(line).collect()
    }

    #[test]
    fn the_net_effect_is_the_state_at_the_last_line() {
        let cases = [
            ("", Base::Kept, "", false),
            ("x+ y+ x-", Base::Kept, "x- y+", false),
            ("x- x+", Base::Kept, "x+", false),
            ("+ x+ !", Base::Empty, "x+", true),
            ("x+ ! -", Base::Gone, "", false),
            ("x+ ! - +", Base::Empty, "", false),
            ("x+ - + y+ y- z+", Base::Empty, "y- z+", false),
        ];
        for (log, base, documents, rolled) in cases {
            let net = net_effect(&lines(log));
            let sign = |written| if written { '+' } else { '-' };
            let got: Vec<_> = net
                .documents
                .iter()
                .map(|(id, written)| format!("{id}{}", sign(*written)))
                .collect();
            assert_eq!(
                (net.base, got.join(" ").as_str(), net.rolled),
                (base, documents, rolled),
                "{log}"
            );
        }
    }

    #[test]
    fn a_page_ends_with_its_last_roll() {
        for (log, last) in [
            ("", 0),
            ("x+ y+", 2),
            ("x+ ! y+ ! z+", 2),
            ("x+ y+ !", 2),
            ("x+ ! y+ -", 3),
            ("x+ ! - + y+", 4),
            ("- + x+ ! y+", 3),
            ("x+ m y+", 2),
            ("x+ ! m y+ !", 3),
        ] {
            let mut lines = lines(log);
            end_with_last_roll(&mut lines);
            assert_eq!(lines.last().map_or(0, |line| line.commit.position.0), last, "{log}");
        }
        for (log, since, last) in [
            ("x+ m y+", Some(0), 1),
            ("x+ m y+", Some(1), 1),
            ("x+ m y+", Some(2), 3),
            ("x+ m y+ m", Some(2), 3),
            ("m", Some(0), 0),
            ("x+ m y+", None, 3),
        ] {
            let mut lines = lines(log);
            end_before_another_model(&mut lines, since.map(Position));
            assert_eq!(lines.last().map_or(0, |line| line.commit.position.0), last, "{log}");
        }
        let net = net_effect(&lines("x+ y+ !"));
        assert!(net.rolled && net.documents.keys().map(DocumentId::as_str).eq(["x", "y"]));
        assert_eq!(lines("x+ !").last().unwrap().commit.position, Position(1));
    }
}
