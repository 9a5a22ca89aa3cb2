// A pipeline that answers `{"query": "…"}` with the documents nearest to it.

import { embed } from "weir:embedding/plain-embedder@0.2.0";
import { open, search } from "weir:vector/plain-collections@0.2.0";
import { get as setting } from "weir:observe/settings@0.2.0";

export const plainHandler = {
  handle(request) {
    const query = queryOf(request);
    const [vector] = hostCall(() => embed(undefined, [query]));
    const hits = hostCall(() =>
      search(open(setting("collection") ?? "docs"), {
        nearest: vector,
        text: query,
        filter: undefined,
        minimumScore: undefined,
        unit: "document",
        limit: 5,
        offset: 0,
      }),
    );
    const body = hits.toBody([["language", JSON.stringify("javascript")]]);
    return { status: 200, contentType: "application/json", headers: [], body };
  },
};

function queryOf(request) {
  const body = JSON.parse(new TextDecoder().decode(request.body()));
  if (typeof body?.query !== "string" || body.query.trim() === "") {
    throw failure("invalid-request", "invalid-query", "'query' must be a string with words");
  }
  return body.query;
}

/** Turns the error of a host call into a failure for the client. */
function hostCall(call) {
  try {
    return call();
  } catch (error) {
    const { tag, val } = error.payload ?? {};
    if (tag === "denied") {
      throw failure("denied", "collection-not-granted", `'${val}' is not granted`);
    }
    throw failure("failed", "host-call-failed", `${tag ?? error}: ${JSON.stringify(val)}`);
  }
}

/** A throw that the client receives: `tag` is a case of `failure` in the WIT. */
function failure(tag, code, message) {
  return { payload: { tag, val: { code, message } } };
}
