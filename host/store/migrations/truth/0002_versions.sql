-- Exact positions: a truth keeps the versions of its documents, the chain values of its commits
-- and the statistics of its epochs. A file of version 0.2 has none of these, so its history
-- begins at its last commit.

CREATE TABLE truth (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  -- Random; a copy of the file keeps it.
  id      BLOB    NOT NULL,
  -- States before this position cannot be read, and the log begins after it.
  trimmed INTEGER NOT NULL
) STRICT;
INSERT INTO truth (one, id, trimmed) SELECT 1, randomblob(16), position FROM counter;

-- The newest commits, and every one that is not trimmed.
CREATE TABLE commits (
  position     INTEGER PRIMARY KEY,
  -- 32 random bits, which tell histories apart.
  chain        INTEGER NOT NULL,
  -- For people who look at the file: nothing is decided by it.
  committed_ms INTEGER NOT NULL
) STRICT;
INSERT INTO commits (position, chain, committed_ms)
  SELECT position, random() & 0xffffffff, unixepoch() * 1000 FROM counter WHERE position > 0;

-- New tables instead of new columns: their old constraints cannot be dropped.
ALTER TABLE documents RENAME TO old_documents;
ALTER TABLE collections RENAME TO old_collections;
DROP TABLE changes;

CREATE TABLE collections (
  key            INTEGER PRIMARY KEY,
  name           TEXT    NOT NULL,
  -- It exists at the positions created <= p < dropped.
  created        INTEGER NOT NULL,
  created_chain  INTEGER NOT NULL,
  dropped        INTEGER,
  -- The position of its last line in the log.
  last           INTEGER NOT NULL,
  -- Of the current versions of its documents.
  documents      INTEGER NOT NULL DEFAULT 0,
  bytes          INTEGER NOT NULL DEFAULT 0,
  chunks         INTEGER NOT NULL DEFAULT 0,
  -- How many chunks it had at its last roll, and how many were added or removed since.
  chunks_at_roll INTEGER NOT NULL DEFAULT 0,
  chunks_changed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX collections_now ON collections (name) WHERE dropped IS NULL;
CREATE INDEX collections_by_name ON collections (name, created);
CREATE INDEX collections_by_last ON collections (last);
CREATE INDEX collections_dropped ON collections (dropped) WHERE dropped IS NOT NULL;

-- A version of a document exists at the positions version <= p < ended, while its collection does.
CREATE TABLE documents (
  key         INTEGER PRIMARY KEY,
  collection  INTEGER NOT NULL REFERENCES collections (key),
  id          TEXT    NOT NULL,
  version     INTEGER NOT NULL,
  ended       INTEGER,
  -- JSON, [[start, end], …]: byte offsets into the text.
  chunks      TEXT    NOT NULL,
  -- Canonical JSON of an object.
  metadata    TEXT    NOT NULL,
  text        TEXT    NOT NULL,
  -- Why this version cannot be indexed: it is indexed without chunks. NULL if it can.
  set_aside   TEXT,
  chunk_count INTEGER NOT NULL AS (json_array_length(chunks)) VIRTUAL,
  bytes       INTEGER NOT NULL AS
    (octet_length(chunks) + octet_length(metadata) + octet_length(text)) VIRTUAL
) STRICT;

INSERT INTO collections (key, name, created, created_chain, last)
  SELECT old.key, old.name, old.created,
    -- Chain values of older commits are as unknown as their states: any value is new.
    ifnull(commits.chain, random() & 0xffffffff), counter.position
  FROM old_collections AS old JOIN counter LEFT JOIN commits ON commits.position = old.created;
INSERT INTO documents (key, collection, id, version, chunks, metadata, text)
  SELECT key, collection, id, version, chunks, metadata, text FROM old_documents;
DROP TABLE old_documents;
DROP TABLE old_collections;

CREATE UNIQUE INDEX documents_now ON documents (collection, id) WHERE ended IS NULL;
CREATE INDEX documents_by_version ON documents (collection, id, version, ended);
CREATE INDEX documents_ended ON documents (ended) WHERE ended IS NOT NULL;
CREATE INDEX documents_set_aside ON documents (collection, id) WHERE set_aside IS NOT NULL;

UPDATE collections SET (documents, bytes, chunks, chunks_at_roll) =
  (SELECT count(*), ifnull(sum(bytes), 0), ifnull(sum(chunk_count), 0), ifnull(sum(chunk_count), 0)
   FROM documents WHERE collection = collections.key);

-- What to look at again, by collection and position. Names instead of keys, and lines in the order
-- of the commit. A line about the collection itself has '' for a document, which no id is.
CREATE TABLE changes (
  collection TEXT    NOT NULL,
  position   INTEGER NOT NULL,
  line       INTEGER NOT NULL,
  -- 0 collection created, 1 collection deleted, 2 document put, 3 document deleted, 4 rolled.
  -- A later Weir can add kinds.
  kind       INTEGER NOT NULL,
  document   TEXT    NOT NULL,
  PRIMARY KEY (collection, position, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX changes_by_position ON changes (position);

-- The epochs of the collections' keyword statistics, one for each roll.
CREATE TABLE statistics (
  key        INTEGER PRIMARY KEY,
  collection INTEGER NOT NULL REFERENCES collections (key),
  -- The position of the roll.
  epoch      INTEGER NOT NULL,
  -- NULL until an index has computed them.
  encoded    BLOB
) STRICT;
CREATE UNIQUE INDEX statistics_of ON statistics (collection, epoch);
CREATE INDEX statistics_by_epoch ON statistics (epoch);
-- The state that a migrated history begins with counts as a roll of every collection.
INSERT INTO statistics (collection, epoch) SELECT key, position FROM collections JOIN counter;

-- The chain value of the commit at `position`. Requests from before the history began are
-- answered with the commit that it begins with, at which their writes are visible too.
ALTER TABLE idempotency_keys ADD COLUMN chain INTEGER NOT NULL DEFAULT 0;
UPDATE idempotency_keys SET (position, chain) = (SELECT position, chain FROM commits);
