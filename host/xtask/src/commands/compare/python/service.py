"""The service that Weir is compared with: search as people build it in Python today.

FastAPI on uvicorn (uvloop, httptools, one worker per core), answers cached in Redis by a hash
of the canonical request, ONNX Runtime in process, and an exact search with numpy in memory.
It is tuned in the usual ways: the hit path parses JSON with orjson and sends the cached
bytes as they are, and questions that were embedded before are not embedded again.

It does less than Weir does: no sandbox, no filters, no other modes, and its documents do not
change while it runs, so it does not have to find out which answers a write makes stale.
"""

import hashlib
import os
from collections import OrderedDict

import numpy
import orjson
import redis.asyncio
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model import Model

ANSWER_TTL_SECONDS = 3600
MAX_CACHED_VECTORS = 40_000


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=8192)
    collection: str
    limit: int = Field(default=10, ge=1, le=100)


class Index:
    """All documents and their vectors in memory."""

    def __init__(self, folder: str) -> None:
        with open(os.path.join(folder, "documents.json"), "rb") as file:
            content = file.read()
        self.vectors = numpy.load(os.path.join(folder, "vectors.npy"))
        # The vectors are included, because they depend on the model.
        self.version = hashlib.sha256(content + self.vectors.tobytes()).digest()
        self.results = [
            {
                "document_id": document["id"],
                "text": document["text"],
                "start": 0,
                "end": len(document["text"].encode()),
                "metadata": document["metadata"],
            }
            for document in orjson.loads(content)
        ]

    def search(self, vector: numpy.ndarray, limit: int) -> list[dict]:
        """The best documents, best first."""
        scores = self.vectors @ vector
        limit = min(limit, len(scores))
        top = numpy.argpartition(-scores, limit - 1)[:limit]
        top = top[numpy.argsort(-scores[top], kind="stable")]
        return [{**self.results[place], "score": float(scores[place])} for place in top]


class Vectors:
    """The vectors of recent questions."""

    def __init__(self) -> None:
        self.known: OrderedDict[str, numpy.ndarray] = OrderedDict()

    def get(self, text: str) -> numpy.ndarray | None:
        vector = self.known.get(text)
        if vector is not None:
            self.known.move_to_end(text)
        return vector

    def put(self, text: str, vector: numpy.ndarray) -> None:
        self.known[text] = vector
        if len(self.known) > MAX_CACHED_VECTORS:
            self.known.popitem(last=False)


model = Model(os.environ["MODEL"], os.environ["TOKENIZER"])
index = Index(os.environ["INDEX"])
vectors = Vectors()
cache = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"])
app = FastAPI()


def key_of(request: object) -> bytes:
    """The same key for every spelling of a request, and a different one for other documents."""
    canonical = orjson.dumps(request, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(index.version + canonical).digest()


def answer(question: Question, vector: numpy.ndarray) -> bytes:
    results = index.search(vector, question.limit)
    return orjson.dumps({"results": results, "mode": "dense"})


def parse(request: object) -> Question:
    try:
        return Question.model_validate(request)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def respond(body: bytes, cache_status: str) -> Response:
    return Response(body, media_type="application/json", headers={"cache-status": cache_status})


async def embed_once(query: str) -> numpy.ndarray:
    vector = vectors.get(query)
    if vector is None:
        # In a thread, because ONNX Runtime releases the interpreter's lock while it computes.
        vector = (await run_in_threadpool(model.embed, [query]))[0]
        vectors.put(query, vector)
    return vector


@app.post("/v1/pipelines/search")
async def search(request: Request) -> Response:
    """Answers from Redis if it can."""
    asked = orjson.loads(await request.body())
    key = key_of(asked)
    cached = await cache.get(key)
    if cached is not None:
        return respond(cached, "redis; hit")
    question = parse(asked)
    body = answer(question, await embed_once(question.query))
    await cache.set(key, body, ex=ANSWER_TTL_SECONDS)
    return respond(body, "redis; fwd=miss; stored")


@app.post("/v1/pipelines/search-uncached")
async def search_uncached(request: Request) -> Response:
    """Searches every time, but embeds each question only once."""
    question = parse(orjson.loads(await request.body()))
    body = answer(question, await embed_once(question.query))
    return respond(body, "redis; fwd=bypass")
