"""A pipeline that answers `{"query": "…"}` with the documents nearest to it."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import plain_collections, plain_embedder, settings
from wit_world.imports.weir_pipeline_types import (
    Detail,
    Failure_InvalidRequest,
    Request,
    Response,
)
from wit_world.imports.weir_vector_types import Query, Unit


class PlainHandler(exports.PlainHandler):
    def handle(self, request: Request) -> Response:
        query = query_of(request.body())
        [vector] = plain_embedder.embed(None, [query])
        collection = plain_collections.open(settings.get("collection") or "docs")
        hits = plain_collections.search(
            collection,
            Query(
                nearest=vector,
                text=query,
                filter=None,
                minimum_score=None,
                unit=Unit.DOCUMENT,
                limit=5,
                offset=0,
            ),
        )
        body = hits.to_body([("language", json.dumps("python"))])
        return Response(200, "application/json", [], body)


def query_of(body: bytes) -> str:
    request = json.loads(body)
    query = request.get("query") if isinstance(request, dict) else None
    if not isinstance(query, str) or not query.strip():
        detail = Detail("invalid-query", "'query' must be a string with words")
        raise Err(Failure_InvalidRequest(detail))
    return query
