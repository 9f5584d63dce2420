"""word2vec's two layouts of static vectors: text, and binary with a text header (word2vec.c, `-binary 1`).

Header: "V D\n". Text: a word and D numbers a line. Binary: the word, a space, D little-endian float32, a newline.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from foretext.bundle import SOURCE, Pretrained, Provenance, machine
from foretext.errors import ArtefactError, UsageError
from foretext.folder import fingerprint
from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.spelling import Whole

MOST_WIDTH = 65_536
LONGEST_WORD = 8_192
"""Bytes; a longer "word" means that the file is not what its header says."""

Table = NDArray[np.float32]


def to_word2vec(model: Pretrained, out: Path, *, binary: bool) -> str:
    """Write the static vectors of `model`, words in the order of their ids (most frequent first); read them back and
    compare. Errors: a contextual family → UsageError."""
    name = model.recipe.family.name
    if not isinstance(model.recipe.family, Word2VecConfig):
        raise UsageError(f"the word2vec layout holds static vectors; {name} has none", remedy="choose a static family")
    words = list(model.tokenizer.pieces)
    wrong = [word for word in words if not word or any(c.isspace() for c in word)]
    if wrong:
        raise UsageError(f"{len(wrong)} words contain white space, which this layout cannot hold, e.g. {wrong[0]!r}")
    vectors = model.vectors
    with open(out, "wb") as file:
        file.write(f"{len(words)} {vectors.shape[1]}\n".encode())
        for word, row in zip(words, vectors, strict=True):
            file.write(word.encode() + b" ")
            file.write(row.astype("<f4").tobytes() if binary else " ".join(map(repr, row.tolist())).encode())
            file.write(b"\n")
    again, table = read_word2vec(out)
    if again != words or not np.array_equal(table, vectors):
        raise ArtefactError("what was written does not read back as it was", file=out)
    return f"{out}: {len(words):,} words of {vectors.shape[1]} numbers, read back and equal"


def from_word2vec(source: Path, out: Path) -> str:
    """Turn a word2vec file (text or binary, told from its bytes) into a Pretrained folder; compare after reopening."""
    model = as_pretrained(source)
    made = model.save(out)
    table, words = model.vectors, list(model.tokenizer.pieces)
    if not np.array_equal(made.vectors, table) or list(made.tokenizer.pieces) != words:
        raise ArtefactError("what was written does not read back as it was", file=out)
    return f"{out}: {len(words) - 1:,} words of {table.shape[1]} numbers, read back and equal"


def as_pretrained(source: Path) -> Pretrained:
    """A word2vec file as a model in memory. Errors as `read_word2vec`'s."""
    words, table = read_word2vec(source)
    lowercase = not any(word != word.lower() for word in words)
    config = TokenizerConfig(
        kind="words", lowercase=lowercase, strip_accents=False, chinese="words", special=("[UNK]",)
    )
    if "[UNK]" in words:
        at = words.index("[UNK]")
        order = [at, *range(at), *range(at + 1, len(words))]
        words, table = [words[i] for i in order], table[order]
    else:
        # Words outside the file have no vector: the zero row.
        words, table = ["[UNK]", *words], np.concatenate([np.zeros((1, table.shape[1]), np.float32), table])
    tokenizer = ChunkTokenizer(config, Whole(words, [0] * len(words), 1, 0))
    recipe = Recipe(name="word2vec-imported", family=Word2VecConfig(width=table.shape[1]), tokenizer=config)
    return Pretrained(
        recipe=recipe,
        tokenizers={SOURCE: tokenizer},
        arrays={f"encoders.{SOURCE}.table.weight": table},
        provenance=Provenance(corpus=fingerprint(source.read_bytes()), recipe=recipe.key(), machine=machine()),
    )


def read_word2vec(source: Path) -> tuple[list[str], Table]:
    """Words and vectors [V, D] of a word2vec file. Errors: missing → UsageError; damaged → ArtefactError with place.

    Memory is bounded by the file's own size, whatever its header claims.
    """
    if not source.is_file():
        raise UsageError("no such file", file=source)
    with open(source, "rb") as file:
        count, width = _header(file, source)
        start = file.tell()
        rows = _binary(file, count, width, source) if _is_binary(file, width) else _text(file, count, width, source)
        file.seek(start)
        words, table = [], np.empty((count, width), np.float32)
        for number, (word, row) in enumerate(rows):
            words.append(word)
            table[number] = row
    if len(set(words)) != len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise ArtefactError(f"the word {twice!r} stands there twice", file=source)
    if not np.isfinite(table).all():
        raise ArtefactError("a vector holds a number that is not finite", file=source)
    return words, table


def _header(file: BinaryIO, source: Path) -> tuple[int, int]:
    line = file.readline(100)
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise ArtefactError(f"expected a header of two numbers, found {line[:40]!r}", file=source, place="line 1")
    count, width = int(parts[0]), int(parts[1])
    size = source.stat().st_size
    # A row takes at least a word byte, a space and two bytes a number, so a header cannot claim more than the file has.
    if not 0 < width <= MOST_WIDTH or not 0 < count * (2 * width) <= size:
        raise ArtefactError(
            f"the header claims {count} words of {width} numbers, the file has {size:,} bytes", file=source, place="line 1"
        )
    return count, width


def _is_binary(file: BinaryIO, width: int) -> bool:
    start = file.tell()
    line = file.readline(64 * width + LONGEST_WORD)
    file.seek(start)
    parts = line.split()
    try:
        [float(part) for part in parts[1:]]
    except ValueError:
        return True
    return len(parts) != width + 1


def _text(file: BinaryIO, count: int, width: int, source: Path) -> Iterator[tuple[str, Table]]:
    for number in range(count):
        place = f"line {number + 2}"
        parts = file.readline().rstrip(b"\r\n ").split(b" ")
        if len(parts) != width + 1:
            raise ArtefactError(f"expected a word and {width} numbers, found {len(parts)} parts", file=source, place=place)
        try:
            yield parts[0].decode(), np.array([float(part) for part in parts[1:]], np.float32)
        except (UnicodeDecodeError, ValueError) as error:
            raise ArtefactError(str(error), file=source, place=place) from error


def _binary(file: BinaryIO, count: int, width: int, source: Path) -> Iterator[tuple[str, Table]]:
    for number in range(count):
        place, word = f"word {number + 1}", bytearray()
        while (byte := file.read(1)) != b" ":
            if not byte or len(word) > LONGEST_WORD:
                raise ArtefactError("the file ends, or goes astray, inside a word", file=source, place=place)
            if byte != b"\n":  # word2vec.c ends each row with a newline, others do not
                word += byte
        raw = file.read(4 * width)
        if len(raw) != 4 * width:
            raise ArtefactError(f"the file ends inside a vector: {len(raw)} of {4 * width} bytes", file=source, place=place)
        try:
            yield word.decode(), np.frombuffer(raw, "<f4")
        except UnicodeDecodeError as error:
            raise ArtefactError(str(error), file=source, place=place) from error
