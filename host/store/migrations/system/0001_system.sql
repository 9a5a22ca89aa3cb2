-- What belongs to the server and to no tenant.

-- The deployments that were published last, and their revision.
CREATE TABLE deployments (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  fingerprint BLOB    NOT NULL,
  revision    INTEGER NOT NULL
) STRICT;
