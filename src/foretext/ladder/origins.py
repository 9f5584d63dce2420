"""Weights that exist already, opened as a rung's source: a foretext folder, one in Hugging Face's layout, word vectors."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from foretext.bundle import Pretrained, load_pretrained
from foretext.errors import UsageError, no_file
from foretext.folder import fingerprint, is_sealed
from foretext.interop.vectors import as_pretrained, is_vectors
from foretext.models.catalog import resolve


@lru_cache(maxsize=2)
def opened_source(path: str) -> Pretrained:
    """The weights at `path`, opened once a process. Errors: no such folder, or one of neither layout → UsageError; what
    opening it raises."""
    folder = Path(path)
    if not folder.exists():
        raise no_file(folder)
    if is_sealed(folder):
        return load_pretrained(folder)
    if is_vectors(folder):
        return as_pretrained(folder)
    if not (folder / "config.json").is_file():
        raise UsageError(
            "no foretext folder, none in Hugging Face's layout (no config.json), no word vectors", file=folder
        )
    made: Pretrained = resolve("foretext.interop.huggingface:from_hf")(folder)
    return made


def content_key(source: Pretrained) -> str:
    """Fingerprint of what it is: network, tokenizer and every number, wherever it lies and in whichever layout."""
    arrays = source.arrays
    numbers = (np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays))
    return fingerprint(source.recipe.family, source.tokenizer.key, sorted(arrays), *numbers)
