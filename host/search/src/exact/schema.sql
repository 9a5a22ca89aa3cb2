-- The index of chunks. All of it is derived from the truth: a file of another format, truth,
-- model or analysis is removed, so there are no migrations. The tables have no secondary indexes,
-- so reading all of them at startup also checks the whole file.
PRAGMA user_version = 3;

-- One row: what the index was made with, and the commit up to which it has applied the whole log.
CREATE TABLE header (
    truth TEXT NOT NULL,
    model_digest TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    analysis TEXT NOT NULL,
    position INTEGER NOT NULL,
    chain INTEGER NOT NULL
) STRICT;

CREATE TABLE collections (
    name TEXT NOT NULL PRIMARY KEY,
    -- The last line of the collection that is applied.
    position INTEGER NOT NULL,
    chain INTEGER NOT NULL,
    -- The epoch's statistics: see keyword/codec.rs. NULL if the collection does not exist after
    -- that line; such a row is deleted when the header's position has reached it.
    statistics BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE documents (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    -- Canonical JSON of an object.
    metadata TEXT NOT NULL,
    -- Ranges, vectors and terms: see codec.rs.
    chunks BLOB NOT NULL,
    PRIMARY KEY (collection, id)
) STRICT, WITHOUT ROWID;
