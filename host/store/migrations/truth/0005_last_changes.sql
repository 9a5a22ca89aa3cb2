-- What answers that are kept outside of the process are checked by, at the next start and on other
-- nodes: who may have written them, and what has changed since they were made.

-- Authenticates what nodes of this truth have written. A copy of the file keeps it.
ALTER TABLE truth ADD COLUMN secret BLOB;
UPDATE truth SET secret = randomblob(32);

-- The last line of collections that were dropped and are not in `collections` any more, or not
-- under this name: only the newest of them.
CREATE TABLE dropped (
  collection TEXT    PRIMARY KEY,
  last       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dropped_by_last ON dropped (last);

-- A collection that is in neither has no line after this position. What was dropped before this
-- table existed is not known.
ALTER TABLE truth ADD COLUMN dropped_before INTEGER NOT NULL DEFAULT 0;
UPDATE truth SET dropped_before = (SELECT position FROM counter);
