//! Ranked hits behind a guest's handle: their texts and metadata stay here until a field is
//! asked for.

use wasmtime::component::Resource;
use weir_bindings::pipeline::weir::vector::types;
use weir_search as backend;
use weir_store::HitText;

use super::super::call::View;
use super::super::resources;
use super::{Context, SPENT};

/// A hit with the truth's text.
#[derive(Clone, Debug)]
pub struct FoundHit {
    /// Which chunk of which document, and how well it fits.
    pub hit: backend::Hit,
    /// What the truth says of it.
    pub text: HitText,
}

/// Ranked hits, behind a guest's handle.
#[derive(Clone, Debug, Default)]
pub struct FoundHits(pub Vec<FoundHit>);

impl types::Host for View<'_, Context> {}

impl types::HostHits for View<'_, Context> {
    fn ranking(&mut self, hits: Resource<types::Hits>) -> wasmtime::Result<Vec<types::Hit>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        let ranking = found.0.iter().map(|found| types::Hit {
            id: found.hit.document.as_str().to_owned(),
            chunk: found.hit.chunk,
            score: found.hit.score,
            start: found.hit.start,
            end: found.hit.end,
        });
        Ok(ranking.collect())
    }

    fn text(
        &mut self,
        hits: Resource<types::Hits>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        Ok(found.0.get(index as usize).map(|found| found.text.text.as_ref().to_owned()))
    }

    fn metadata(
        &mut self,
        hits: Resource<types::Hits>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        Ok(found.0.get(index as usize).map(|found| found.text.metadata.as_ref().to_owned()))
    }

    fn reorder(
        &mut self,
        hits: Resource<types::Hits>,
        indices: Vec<u32>,
    ) -> wasmtime::Result<Option<Resource<types::Hits>>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        let bytes = indices.len().saturating_mul(size_of::<FoundHit>());
        if !self.call.spend(bytes) {
            wasmtime::bail!("{SPENT}");
        }
        let Some(reordered) = reorder(found, &indices) else { return Ok(None) };
        Ok(Some(resources::push(self.table, reordered)?))
    }

    fn drop(&mut self, hits: Resource<types::Hits>) -> wasmtime::Result<()> {
        resources::take::<FoundHits, _>(self.table, &hits)?;
        Ok(())
    }
}

fn reorder(found: &FoundHits, indices: &[u32]) -> Option<FoundHits> {
    let mut left: Vec<_> = found.0.iter().map(Some).collect();
    let taken = indices.iter().map(|&index| left.get_mut(index as usize)?.take().cloned());
    taken.collect::<Option<_>>().map(FoundHits)
}
