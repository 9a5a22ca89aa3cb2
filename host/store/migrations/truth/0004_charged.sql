-- What a tenant is charged for: the texts and the metadata of its documents, as they are now. Unlike
-- `bytes`, it does not depend on how a model's tokenizer splits a text.

ALTER TABLE documents ADD COLUMN charged INTEGER NOT NULL AS
  (octet_length(metadata) + octet_length(text)) VIRTUAL;

-- Of the current versions of its documents.
ALTER TABLE collections ADD COLUMN charged INTEGER NOT NULL DEFAULT 0;
UPDATE collections SET charged =
  (SELECT ifnull(sum(documents.charged), 0) FROM documents
   WHERE documents.collection = collections.key AND documents.ended IS NULL);
