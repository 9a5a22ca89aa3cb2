-- Plugins that were uploaded, what is deployed, and who has changed what.

-- The counter of revisions. It continues where the old table left it.
CREATE TABLE revisions (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  last INTEGER NOT NULL
) STRICT;
INSERT INTO revisions (one, last) VALUES (1, 0);
UPDATE revisions SET last = old.revision FROM deployments AS old;
DROP TABLE deployments;

-- Deployments and removals. The one with the largest revision of a role and a name is current.
CREATE TABLE deployments (
  revision INTEGER PRIMARY KEY,
  role     TEXT    NOT NULL,
  name     TEXT    NOT NULL,
  -- NULL if it was removed.
  spec     TEXT,
  by       TEXT    NOT NULL,
  unix_ms  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX deployments_by_name ON deployments (role, name, revision);

CREATE TABLE plugins (
  -- The order of uploads.
  sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
  digest      BLOB    NOT NULL UNIQUE CHECK (length(digest) = 32),
  name        TEXT    NOT NULL,
  version     TEXT    NOT NULL,
  role        TEXT    NOT NULL,
  bytes       INTEGER NOT NULL,
  uploaded_ms INTEGER NOT NULL,
  uploaded_by TEXT    NOT NULL
) STRICT;

-- Ids are not used again, so that a page that is asked for later is what follows the last one.
CREATE TABLE audit (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms   INTEGER NOT NULL,
  who     TEXT    NOT NULL,
  action  TEXT    NOT NULL,
  target  TEXT    NOT NULL,
  outcome TEXT    NOT NULL
) STRICT;
