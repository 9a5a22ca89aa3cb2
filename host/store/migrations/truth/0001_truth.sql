-- The truth of one tenant: collections, their documents, and the log of changes.

-- The position of the last commit. Read under the write lock and set in the transaction
-- that commits, so a larger position was committed later.
CREATE TABLE counter (
  one      INTEGER PRIMARY KEY CHECK (one = 1),
  position INTEGER NOT NULL
) STRICT;
INSERT INTO counter (one, position) VALUES (1, 0);

CREATE TABLE collections (
  key     INTEGER PRIMARY KEY,
  name    TEXT    NOT NULL UNIQUE,
  created INTEGER NOT NULL
) STRICT;

CREATE TABLE documents (
  key        INTEGER PRIMARY KEY,
  collection INTEGER NOT NULL REFERENCES collections (key) ON DELETE CASCADE,
  id         TEXT    NOT NULL,
  version    INTEGER NOT NULL,
  -- JSON, [[start, end], …]: byte offsets into the text.
  chunks     TEXT    NOT NULL,
  -- Canonical JSON of an object.
  metadata   TEXT    NOT NULL,
  text       TEXT    NOT NULL,
  UNIQUE (collection, id)
) STRICT;

-- What to look at again, by position. Names instead of keys: a line outlives its
-- collection. A line about the collection itself has '' for a document, which no id is.
CREATE TABLE changes (
  position   INTEGER NOT NULL,
  document   TEXT    NOT NULL,
  collection TEXT    NOT NULL,
  -- 0 collection created, 1 collection deleted, 2 document put, 3 document deleted
  kind       INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 3),
  PRIMARY KEY (position, document)
) STRICT, WITHOUT ROWID;

-- The newest requests that came with an idempotency key.
CREATE TABLE idempotency_keys (
  sequence    INTEGER PRIMARY KEY,
  key         TEXT    NOT NULL UNIQUE,
  fingerprint BLOB    NOT NULL,
  position    INTEGER NOT NULL,
  stored_ms   INTEGER NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (stored_ms);
