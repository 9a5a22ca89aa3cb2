"""Embeds documents once, so that the service starts within seconds.

Usage: prepare.py MODEL TOKENIZER DOCUMENTS FOLDER, where DOCUMENTS is NDJSON of
`{"id", "text", "metadata"}`. Writes `documents.json` and `vectors.npy` into FOLDER.
"""

import json
import pathlib
import sys

import numpy

from model import Model

BATCH = 8


def main(model_file: str, tokenizer: str, documents_file: str, folder: str) -> None:
    model = Model(model_file, tokenizer)
    with open(documents_file, encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    # Texts of similar length share a batch, so that padding costs little.
    order = sorted(range(len(documents)), key=lambda place: len(documents[place]["text"]))
    vectors = numpy.empty((len(documents), 384), dtype=numpy.float32)
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        vectors[batch] = model.embed([documents[place]["text"] for place in batch])
    target = pathlib.Path(folder)
    numpy.save(target / "vectors.npy", vectors)
    # Written last: its presence means that both files are complete.
    (target / "documents.json.new").write_text(json.dumps(documents), encoding="utf-8")
    (target / "documents.json.new").rename(target / "documents.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
