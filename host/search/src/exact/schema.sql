-- The index of chunks. All of it is derived from the truth: a file of another format, model
-- or analysis is removed, so there are no migrations. The tables have no secondary indexes, so
-- reading all of them at startup also checks the whole file.
PRAGMA user_version = 2;

-- One row: what the index was made with, and the last change that it contains.
CREATE TABLE header (
    model_digest TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    analysis TEXT NOT NULL,
    applied INTEGER NOT NULL
) STRICT;

CREATE TABLE collections (
    name TEXT NOT NULL PRIMARY KEY,
    -- The epoch's statistics: see codec.rs.
    statistics BLOB NOT NULL,
    -- Chunks written or removed in the epoch.
    changed_chunks INTEGER NOT NULL
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
