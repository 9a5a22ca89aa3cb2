-- What administrators have invalidated: nothing that was made before may be served from a cache.

CREATE TABLE invalidations (
  position INTEGER PRIMARY KEY,
  -- What is invalidated, as whoever caches understands it.
  what     TEXT    NOT NULL,
  -- Whether policies decide for how long it may still be served.
  soft     INTEGER NOT NULL CHECK (soft IN (0, 1))
) STRICT;
CREATE INDEX invalidations_by_what ON invalidations (what);

-- The last of them, so that nobody looks for more.
ALTER TABLE truth ADD COLUMN invalidated INTEGER NOT NULL DEFAULT 0;
-- Everything was invalidated at this position: there have been more than are kept.
ALTER TABLE truth ADD COLUMN invalidated_before INTEGER NOT NULL DEFAULT 0;
