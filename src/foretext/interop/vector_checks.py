"""What every layout of vectors is held to, whoever wrote it.

V words · D width
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretext.errors import ArtefactError, ResourceError
from foretext.training.memory import available, gigabytes

MOST_WIDTH = 65_536
LONGEST_WORD = 8_192
"""Bytes; a longer "word" means that the file is not what its header says."""

Table = NDArray[np.float32]


def check(words: Sequence[str], table: Table, source: Path) -> None:
    """Each word once, every number finite, and no word that a vocabulary cannot hold; ArtefactError otherwise."""
    if len(set(words)) != len(words):
        seen: set[str] = set()
        twice = next(word for word in words if word in seen or seen.add(word))  # type: ignore[func-returns-value]
        raise ArtefactError(f"the word {twice!r} stands there twice", file=source)
    wrong = next((i for i, word in enumerate(words) if not word or "\n" in word or "\r" in word or "\0" in word), None)
    if wrong is not None:
        raise ArtefactError("a word is empty, or holds a line end", file=source, place=f"word {wrong + 1}")
    if not all(np.isfinite(table[at : at + 65_536]).all() for at in range(0, len(table), 65_536)):
        raise ArtefactError("a vector holds a number that is not finite", file=source)


def require_room(size: int, source: Path) -> None:
    """ResourceError where `size` bytes are more than the memory there is."""
    room, why = available()
    if room is not None and size > room:
        raise ResourceError(f"its vectors take {gigabytes(size)}, and there are {gigabytes(room)} {why}", file=source)


def digest(source: Path) -> str:
    """A fingerprint of a file, or of all files of a folder, read in parts."""
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    whole = hashlib.blake2b(digest_size=16)
    for one in files:
        if one.is_file():
            with open(one, "rb") as handle:
                whole.update(hashlib.file_digest(handle, "sha256").digest())
    return whole.hexdigest()
