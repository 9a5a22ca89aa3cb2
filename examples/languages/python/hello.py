"""A pipeline that answers `{"query": "…"}` with the documents nearest to it."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import plain_collections, plain_embedder, settings
from wit_world.imports.weir_pipeline_types import (
    Detail,
    Failure_Denied,
    Failure_Failed,
    Failure_InvalidRequest,
    Request,
    Response,
)
from wit_world.imports.weir_vector_types import Hits, Query, Unit, VectorError_Denied


class PlainHandler(exports.PlainHandler):
    def handle(self, request: Request) -> Response:
        query = query_of(request.body())
        try:
            hits = search(settings.get("collection") or "docs", query)
        except Err as error:
            raise failure_of(error.value)
        body = hits.to_body([("language", json.dumps("python"))])
        return Response(200, "application/json", [], body)


def search(collection: str, query: str) -> Hits:
    [vector] = plain_embedder.embed(None, [query])
    return plain_collections.search(
        plain_collections.open(collection),
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


def failure_of(error: object) -> Err:
    """What the client receives when a host call fails."""
    if isinstance(error, VectorError_Denied):
        detail = Detail("collection-not-granted", f"'{error.value}' is not granted")
        return Err(Failure_Denied(detail))
    return Err(Failure_Failed(Detail("host-call-failed", repr(error))))


def query_of(body: bytes) -> str:
    request = json.loads(body)
    query = request.get("query") if isinstance(request, dict) else None
    if not isinstance(query, str) or not query.strip():
        detail = Detail("invalid-query", "'query' must be a string with words")
        raise Err(Failure_InvalidRequest(detail))
    return query
