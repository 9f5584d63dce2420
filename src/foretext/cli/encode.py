"""`encode`: vectors to a file."""

from itertools import islice
from typing import Any

import numpy as np

from foretext.bundle import load_pretrained
from foretext.cli import options
from foretext.cli.output import LongTexts, say, write_json
from foretext.errors import UsageError
from foretext.folder import write_arrays
from foretext.inference import Encoded, chosen_layers, pooled
from foretext.models.catalog import require
from foretext.tasks.tables import read_texts

CHUNK = 512
"""Texts held at a time."""


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
    texts, long = iter(read_texts(chosen.file)), LongTexts(model)
    while chunk := list(islice(texts, CHUNK)):
        for item in model.encode(chunk):
            if chosen.pool == "none":
                arrays.update(_token_arrays(f"{count:08d}", item, chosen.layer))
            else:
                rows.append(pooled(item, chosen.pool, chosen.layer))
            count += 1
            long.add(len(item.ids))
    if chosen.pool != "none":
        arrays["vectors"] = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
    write_arrays(chosen.out, arrays) if chosen.out.suffix == ".safetensors" else np.savez(chosen.out, **arrays)
    long.tell()
    shape = list(arrays["vectors"].shape) if chosen.pool != "none" else f"{len(arrays)} arrays"
    write_json({"texts": count, "out": str(chosen.out)}) if chosen.json else say(f"{chosen.out}: {count} texts, {shape}")


def _token_arrays(name: str, item: Encoded, layer: str) -> dict[str, Any]:
    found: dict[str, Any] = {f"{name}.offsets": item.offsets}
    for label, vectors in chosen_layers(item, layer).items():
        found[f"{name}.layer_{label}" if label.isdigit() else f"{name}.{label}"] = vectors
    return found
