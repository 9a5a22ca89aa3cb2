//! Prepares a page: checks it, and makes of it the collection's next state and what is written to
//! the file. All of this needs no lock, and takes time in proportion to the page, and now and
//! then to the collection (see `collection`), so it runs off the async threads.

use std::sync::Arc;

use crate::{Base, Epoch, IndexPage, VectorError};

use super::check::check;
use super::collection::Collection;
use super::file::{Change, Existence, Row};

/// What to write (`None` if not `durable`), and the collection after the page. `before` is the
/// collection that exists before it.
pub(super) fn prepare(
    mut page: IndexPage,
    before: Option<Arc<Collection>>,
    dimensions: usize,
    durable: bool,
) -> Result<(Option<Change>, Option<Arc<Collection>>), VectorError> {
    check_page(&mut page, dimensions)?;
    let IndexPage { collection, up_to, base, documents, epoch } = page;
    let change = |existence, documents| Change {
        collection,
        last: up_to,
        replaced: base != Base::Kept,
        existence,
        documents,
    };
    if base == Base::Gone {
        return Ok((durable.then(|| change(Existence::Gone, Vec::new())), None));
    }
    let rows = || documents.iter().map(|(id, new)| (id.clone(), new.as_ref().map(Row::new)));
    let rows = if durable { rows().collect() } else { Vec::new() };
    let before = before.filter(|_| base == Base::Kept);
    let keeps_statistics = before.is_some() && matches!(epoch, Epoch::Kept);
    let before = before.unwrap_or_else(|| Arc::new(Collection::empty(dimensions)));
    let after = Arc::new(before.after(documents, epoch, up_to.position));
    let change = durable.then(|| {
        let existence = if keeps_statistics {
            Existence::Kept
        } else {
            Existence::With(after.shared_statistics().encode())
        };
        change(existence, rows)
    });
    Ok((change, Some(after)))
}

/// Checks the documents, and sorts them.
fn check_page(page: &mut IndexPage, dimensions: usize) -> Result<(), VectorError> {
    for (id, document) in &page.documents {
        if let Some(document) = document {
            check(id, document, dimensions)?;
        }
    }
    page.documents.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let twice = page.documents.windows(2).find(|pair| pair[0].0 == pair[1].0);
    match twice {
        Some(pair) => {
            let reason = format!("a page has the document '{}' twice", pair[0].0);
            Err(VectorError::Failed(reason))
        }
        None => Ok(()),
    }
}
