"""`predict`, `evaluate`, `encode`, `neighbors`, `fill`, `score`: models at work."""

import itertools
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from foretext import api
from foretext.adapted import Adapted, load_adapted
from foretext.bundle import Pretrained, load_pretrained
from foretext.cli import options
from foretext.cli.output import say, write_json
from foretext.errors import UsageError
from foretext.evaluation.fill import fill as fill_masks
from foretext.evaluation.neighbors import neighbors as find_neighbors
from foretext.evaluation.report import evaluate as evaluate_adapted
from foretext.evaluation.score import score as score_texts
from foretext.folder import write_arrays
from foretext.inference import Encoded, chosen_layers, pooled
from foretext.models.catalog import require
from foretext.tasks.tables import read_texts
from foretext.text.corpus import open_corpus

CHUNK = 512
"""Texts that `encode` and `score` hold at a time."""


def _adapted(folder: str) -> Adapted:
    found = api.load(folder)
    if not isinstance(found, Adapted):
        raise UsageError("expected an adapted folder, found a pretrained one", file=folder, remedy="make one with foretext transfer")
    return found


def predict(chosen: options.Predict) -> None:
    """A line a text: the label, its probability, the text."""
    model = load_adapted(chosen.adapted)
    texts, again = itertools.tee(read_texts(chosen.file, text=chosen.text))
    for prediction, text in zip(model.stream(texts), again, strict=True):
        if chosen.json:
            write_json({"labels": prediction.labels, "probabilities": prediction.probabilities, "text": text})
        else:
            say(f"{'|'.join(prediction.labels)}\t{prediction.probability:.4f}\t{_one_line(text)}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def evaluate(chosen: options.Evaluate) -> None:
    """Scores with intervals on a labelled file."""
    report = evaluate_adapted(_adapted(chosen.adapted), Path(chosen.test), text=chosen.text, label=chosen.label)
    if chosen.picture is not None:
        report.picture(chosen.picture)
    if chosen.json:
        write_json(report.as_json())
    else:
        say(report.text())


def encode(chosen: options.Encode) -> None:
    """Vectors to a .safetensors or .npz file: one array a text, or one row a text where pooled."""
    if chosen.out.exists():
        raise UsageError("the output exists already", file=chosen.out, remedy="choose another, or remove it first")
    if chosen.out.suffix not in (".safetensors", ".npz"):
        raise UsageError(f"expected .safetensors or .npz, found {chosen.out.suffix or 'no suffix'}", file=chosen.out)
    model = load_pretrained(chosen.pretrained)
    require(model.recipe.family.name, "encode", "encode")
    if chosen.pool == "summary":
        require(model.recipe.family.name, "summary", "encode --pool summary")
    arrays, count = {}, 0
    rows: list[Any] = []
    texts = iter(read_texts(chosen.file))
    while chunk := list(islice(texts, CHUNK)):
        for item in model.encode(chunk):
            if chosen.pool == "none":
                arrays.update(_token_arrays(f"{count:08d}", item, chosen.layer))
            else:
                rows.append(pooled(item, chosen.pool, chosen.layer))
            count += 1
    if chosen.pool != "none":
        arrays["vectors"] = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
    write_arrays(chosen.out, arrays) if chosen.out.suffix == ".safetensors" else np.savez(chosen.out, **arrays)
    shape = list(arrays["vectors"].shape) if chosen.pool != "none" else f"{len(arrays)} arrays"
    write_json({"texts": count, "out": str(chosen.out)}) if chosen.json else say(f"{chosen.out}: {count} texts, {shape}")


def _token_arrays(name: str, item: Encoded, layer: str) -> dict[str, Any]:
    found: dict[str, Any] = {f"{name}.offsets": item.offsets}
    for label, vectors in chosen_layers(item, layer).items():
        found[f"{name}.layer_{label}" if label.isdigit() else f"{name}.{label}"] = vectors
    return found


def neighbors(chosen: options.Neighbors) -> None:
    """Nearest words, or nearest occurrences layer by layer."""
    model = load_pretrained(chosen.pretrained)
    corpus = open_corpus(list(chosen.in_)) if chosen.in_ else None
    found = find_neighbors(model, chosen.query, corpus=corpus, n=chosen.n, same_word=chosen.same_word)
    write_json(found.as_json()) if chosen.json else say(found.text())


def fill(chosen: options.Fill) -> None:
    """The likeliest pieces for each mask."""
    found = fill_masks(load_pretrained(chosen.pretrained), chosen.text, n=chosen.n)
    write_json(found.as_json()) if chosen.json else say(found.text())


def score(chosen: options.Score) -> None:
    """A line a text: log-probability (nats), tokens, the text."""
    model: Pretrained = load_pretrained(chosen.pretrained)
    texts = iter(read_texts(chosen.file))
    while chunk := list(islice(texts, CHUNK)):
        for text, one in zip(chunk, score_texts(model, chunk), strict=True):
            if chosen.json:
                write_json({"sum": one.sum, "mean": one.mean, "tokens": list(one.tokens), "nats": [float(x) for x in one.nats], "text": text})
            else:
                say(f"{one.sum:.4f}\t{len(one.tokens)}\t{_one_line(text)}")
