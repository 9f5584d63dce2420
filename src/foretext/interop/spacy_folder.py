"""spaCy's vectors (3.x, mode "default"): the folder that `Vectors.to_disk` and `Vocab.to_disk` write, and within a
pipeline (`spacy init vectors`) its `vocab/`.

`vectors`: an .npy array [R,D]; `key2row`: msgpack, a word's 64-bit key → its row; `strings.json`: all strings, of which
the words are those whose key has a row; `vectors.cfg`: JSON. What we write, `nlp.vocab.from_disk(FOLDER)` and
`Vectors().from_disk(FOLDER)` read. Source: explosion/spaCy 3.8, vectors.pyx, vocab.pyx, strings.pyx.

V words · D width
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from foretext.errors import ArtefactError, UsageError
from foretext.interop.inspection import array_header
from foretext.interop.vector_checks import MOST_WIDTH, Table, check, require_room

ARRAY, KEYS, STRINGS, SETTINGS = "vectors", "key2row", "strings.json", "vectors.cfg"
_MASK, _MULTIPLIER, _SEED = (1 << 64) - 1, 0xC6A4A7935BD1E995, 1


def find(source: Path) -> Path | None:
    """The folder that holds the vectors: `source`, or its `vocab`; None where neither does."""
    return next((one for one in (source, source / "vocab") if (one / ARRAY).is_file() and (one / KEYS).is_file()), None)


def read(folder: Path) -> tuple[list[str], Table]:
    """Words, in the order of their rows, and vectors [V, D]; several words of one row each get it. Errors: damaged →
    ArtefactError; more than the memory there is → ResourceError."""
    array = _array(folder / ARRAY)
    settings = _decoded(folder / SETTINGS, json=True) if (folder / SETTINGS).is_file() else {}
    if not isinstance(settings, dict) or settings.get("mode", "default") != "default":
        raise ArtefactError("floret vectors, which have no row a word", file=folder / SETTINGS, remedy='only mode "default" is read')
    rows, strings = _decoded(folder / KEYS), _decoded(folder / STRINGS, json=True)
    if not isinstance(rows, dict) or not isinstance(strings, list) or not all(isinstance(one, str) for one in strings):
        raise ArtefactError("expected a map of keys and a list of strings", file=folder)
    placed: list[tuple[int, str]] = []
    for word in strings:
        row = rows.get(key(word)) if word else None
        if row is None:
            continue
        if not isinstance(row, int) or not 0 <= row < len(array):
            raise ArtefactError(f"the word {word[:40]!r} has row {str(row)[:20]} of {len(array)}", file=folder / KEYS)
        placed.append((row, word))
    if not placed or len(placed) < len(rows):
        raise ArtefactError(
            f"{len(rows) - len(placed)} of {len(rows)} keys have no word in {STRINGS}" if placed else "no string has a vector",
            file=folder,
        )
    placed.sort(key=lambda pair: pair[0])
    words = [word for _, word in placed]
    require_room(4 * len(words) * array.shape[1], folder)
    table = np.ascontiguousarray(array[[row for row, _ in placed]], dtype=np.float32)
    check(words, table, folder)
    return words, table


def write(words: Sequence[str], vectors: Table, folder: Path) -> None:
    """Write the folder. Errors: two words of one key → UsageError."""
    keys = {key(word): row for row, word in enumerate(words)}
    if len(keys) != len(words):
        raise UsageError("two words have the same key in spaCy's hash, or a word stands there twice")
    folder.mkdir(parents=True)
    with open(folder / ARRAY, "wb") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(vectors, "<f4"), allow_pickle=False)
    (folder / KEYS).write_bytes(msgspec.msgpack.encode(keys))
    (folder / STRINGS).write_bytes(msgspec.json.encode(list(words)))
    (folder / SETTINGS).write_bytes(msgspec.json.encode({"mode": "default"}))


def key(word: str) -> int:
    """spaCy's key of a string: MurmurHash64A of its UTF-8 bytes with seed 1 (Appleby, MurmurHash2.cpp)."""
    data = word.encode("utf-8", "surrogatepass")
    h = _SEED ^ (len(data) * _MULTIPLIER & _MASK)
    whole = len(data) & ~7
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little") * _MULTIPLIER & _MASK
        k = (k ^ (k >> 47)) * _MULTIPLIER & _MASK
        h = (h ^ k) * _MULTIPLIER & _MASK
    if len(data) > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    h = (h ^ (h >> 47)) * _MULTIPLIER & _MASK
    return h ^ (h >> 47)


def _array(file: Path) -> "np.memmap[tuple[int, ...], np.dtype[np.float32]]":
    """The array where it lies: a claim beyond the file's own size is refused before anything is read."""
    with open(file, "rb") as handle:
        kind, shape = array_header(handle, file.stat().st_size, file, "")
    if kind not in ("F64", "F32", "F16") or len(shape) != 2 or not 0 < shape[1] <= MOST_WIDTH or not shape[0]:
        raise ArtefactError(f"expected rows of floats, found {kind} of shape {shape}", file=file)
    return np.lib.format.open_memmap(file, mode="r")


def _decoded(file: Path, *, json: bool = False) -> object:
    if not file.is_file():
        raise ArtefactError("a file of the vectors is missing", file=file)
    require_room(8 * file.stat().st_size, file)
    try:
        found = msgspec.json.decode(file.read_bytes()) if json else msgspec.msgpack.decode(file.read_bytes())
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError, TypeError) as error:
        raise ArtefactError(f"damaged: {error}", file=file) from error
    return found
