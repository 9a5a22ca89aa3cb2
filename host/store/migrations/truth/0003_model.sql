-- Models: which one's vectors and chunks the answers are made of, and since when.

CREATE TABLE models (
  key    INTEGER PRIMARY KEY,
  -- Identifies the files of the model and of its tokenizer.
  digest TEXT    NOT NULL UNIQUE
) STRICT;

-- NULL until a model is chosen for the first time.
ALTER TABLE truth ADD COLUMN model INTEGER REFERENCES models (key);
-- The position of the change to this model; 0 for the first one.
ALTER TABLE truth ADD COLUMN model_since INTEGER NOT NULL DEFAULT 0;

-- Which model's tokenizer split a version into its chunks. NULL in a version from before this was
-- recorded: the first model.
ALTER TABLE documents ADD COLUMN split_by INTEGER REFERENCES models (key);
