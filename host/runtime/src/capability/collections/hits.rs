//! Ranked hits as a guest sees them. Their texts and metadata stay on the host's side until the
//! guest asks for them.

use wasmtime::component::Resource;
use weir_bindings::pipeline::weir::pipeline::types::Body;
use weir_bindings::pipeline::weir::vector::types::{self, VectorError};
use weir_search as backend;

use super::super::call::View;
use super::super::{body, resources};
use super::Context;
use super::found::{FoundHits, ResultsError, write_results};

impl types::Host for View<'_, Context> {}

impl types::HostHits for View<'_, Context> {
    fn ranking(&mut self, hits: Resource<types::Hits>) -> wasmtime::Result<Vec<types::Hit>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        let ranking = found.0.iter().map(|hit| types::Hit {
            id: hit.document.as_str().to_owned(),
            chunk: hit.chunk,
            score: hit.score,
            start: hit.start,
            end: hit.end,
        });
        Ok(ranking.collect())
    }

    fn text(
        &mut self,
        hits: Resource<types::Hits>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        Ok(found.0.get(index as usize).map(|hit| hit.text().to_owned()))
    }

    fn metadata(
        &mut self,
        hits: Resource<types::Hits>,
        index: u32,
    ) -> wasmtime::Result<Option<String>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        Ok(found.0.get(index as usize).map(|hit| hit.content.metadata.as_ref().to_owned()))
    }

    fn reorder(
        &mut self,
        hits: Resource<types::Hits>,
        indices: Vec<u32>,
    ) -> wasmtime::Result<Result<Resource<types::Hits>, VectorError>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        let bytes = indices.len().saturating_mul(size_of::<backend::Hit>());
        if !self.call.spend(bytes) {
            return Ok(Err(VectorError::QuotaExceeded));
        }
        match reorder(found, &indices) {
            Some(reordered) => Ok(Ok(resources::push(self.table, reordered)?)),
            None => {
                let reason = format!(
                    "the indices must be distinct and less than {}, the number of hits",
                    found.0.len()
                );
                Ok(Err(VectorError::Invalid(reason)))
            }
        }
    }

    fn to_body(
        &mut self,
        hits: Resource<types::Hits>,
        members: Vec<(String, String)>,
    ) -> wasmtime::Result<Result<Resource<Body>, VectorError>> {
        let found: &FoundHits = resources::get(self.table, &hits)?;
        match write_results(found, &members, self.call.max_answer_bytes) {
            Ok(bytes) => Ok(body::keep(self.call, self.table, bytes)?
                .map_err(|_spent| VectorError::QuotaExceeded)),
            Err(error @ ResultsError::Metadata(..)) => {
                Ok(Err(VectorError::Failed(error.to_string())))
            }
            Err(error) => Ok(Err(VectorError::Invalid(error.to_string()))),
        }
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
