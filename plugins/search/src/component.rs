//! The component: [`Host`] with the host's real calls, and the answer made from its hits.

use weir_sdk::collections::{self, Collection, Hits, VectorError};
use weir_sdk::embedding::{self, EmbedError, Embedding};
use weir_sdk::{Failure, Pipeline, Request, Response, settings};

use crate::{Host, Query, answer};

struct Weir;

impl Host for Weir {
    type Embedding = Embedding;
    type Hits = Hits;

    fn setting(&self, name: &str) -> Option<String> {
        settings::get(name)
    }

    async fn embed(&self, model: Option<&str>, text: &str) -> Result<Embedding, EmbedError> {
        embedding::embed(model, text).await
    }

    async fn search(
        &self,
        collection: &str,
        query: Query<'_, Embedding>,
    ) -> Result<Hits, VectorError> {
        let Query { nearest, text, filter, minimum_score, unit, limit, offset } = query;
        let mut asked = collections::Query::new(limit)
            .nearest(nearest)
            .filter(filter)
            .minimum_score(minimum_score)
            .unit(unit)
            .offset(offset);
        if let Some(text) = text {
            asked = asked.text(text);
        }
        Collection::open(collection)?.search(asked).await
    }
}

struct Search;

impl Pipeline for Search {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let (hits, mode) = answer(&Weir, &request.body()).await?;
        Ok(Response::hits(&hits).member("mode", mode.as_str()).build()?)
    }
}

weir_sdk::pipeline!(Search);
