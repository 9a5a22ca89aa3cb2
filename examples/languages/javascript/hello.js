// A pipeline that answers `{"query": "…"}` with the documents nearest to it.

import { embed } from "weir:embedding/plain-embedder@0.2.0";
import { open, search } from "weir:vector/plain-collections@0.2.0";
import { get as setting } from "weir:observe/settings@0.2.0";

function answer(request) {
  let query;
  try {
    ({ query } = JSON.parse(new TextDecoder().decode(request.body())));
  } catch {
    query = undefined;
  }
  if (typeof query !== "string" || query.trim() === "") {
    throw failure("invalid-request", "invalid-query", "'query' must be a string with words");
  }
  const [vector] = embed(undefined, [query]);
  const collection = open(setting("collection") ?? "docs");
  const hits = search(collection, {
    nearest: vector,
    text: query,
    filter: undefined,
    minimumScore: undefined,
    unit: "document",
    limit: 5,
    offset: 0,
  });
  const members = [["language", JSON.stringify("javascript")]];
  return { status: 200, contentType: "application/json", headers: [], body: hits.toBody(members) };
}

/** What a throw becomes for the client. */
function failure(tag, code, message) {
  return { payload: { tag, val: { code, message } } };
}

export const plainHandler = {
  handle(request) {
    return answer(request);
  },
};
