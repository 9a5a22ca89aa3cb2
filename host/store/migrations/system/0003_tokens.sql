-- Tokens that administrators have made, and which of them has changed what.

CREATE TABLE tokens (
  -- The order in which they were made.
  sequence   INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT    NOT NULL UNIQUE CHECK (length(id) = 16),
  -- Of the whole token, from which it cannot be recovered.
  hash       BLOB    NOT NULL CHECK (length(hash) = 32),
  name       TEXT    NOT NULL,
  -- Separated by spaces.
  scopes     TEXT    NOT NULL,
  -- Names, separated by spaces; NULL for all tenants.
  tenants    TEXT,
  made_ms    INTEGER NOT NULL,
  made_by    TEXT    NOT NULL,
  -- When it was last used, a minute late; NULL if it never was.
  used_ms    INTEGER,
  -- NULL while it is valid.
  revoked_ms INTEGER
) STRICT;

-- The id of the token, if it was one of these.
ALTER TABLE audit ADD COLUMN token TEXT;
-- The tenant that it concerns; NULL if it is about the whole server.
ALTER TABLE audit ADD COLUMN tenant TEXT;
-- What else there is to say about it.
ALTER TABLE audit ADD COLUMN detail TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_by_target ON audit (target, id);
CREATE INDEX audit_by_tenant ON audit (tenant, id);
