"""fastText's own .bin, version 12, in and out: float matrices; quantised files (.ftz) and classifiers are refused.

Little endian. int32 magic, version · int32 dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn,
lrUpdateRate, double t · int32 size, nwords, nlabels, int64 ntokens, pruneidx_size · for each word its bytes, a zero,
int64 count, int8 type · a byte "quantised", then the input matrix: int64 rows, columns, float32 numbers (the words' rows,
then the buckets') · a byte, then the output matrix likewise (with negative sampling a row a word).
Source: facebookresearch/fastText 0.9.2, src/fasttext.cc (saveModel), args.cc, dictionary.cc, densematrix.cc.

V words · B buckets · D width
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from foretext.bundle import STATIC_TABLE, Pretrained
from foretext.errors import ArtefactError, UsageError
from foretext.interop.vector_checks import LONGEST_WORD, MOST_WIDTH, Table, check, require_room
from foretext.models.word2vec.fasttext_config import MOST_BUCKETS, FastTextConfig

MAGIC, VERSION = 793712314, 12
NGRAMS, OUTWARD = "encoders.text.ngrams.weight", "heads.negative_sampling.table.weight"
_START, _ARGS, _DICTIONARY, _SHAPE = struct.Struct("<ii"), struct.Struct("<12id"), struct.Struct("<3i2q"), struct.Struct("<2q")
_ENTRY = struct.Struct("<qb")
_NEGATIVE_SAMPLING, _CBOW, _SKIP_GRAM, _CLASSIFIER = 2, 1, 2, 3
_ROWS = 65_536
"""Rows written at once."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A file's content. `arrays`: `STATIC_TABLE` [V,D] and NGRAMS [B,D]; OUTWARD [V,D] where it holds what ours does."""

    words: list[str]
    counts: list[int]
    config: FastTextConfig
    arrays: dict[str, Table]


def is_one(source: Path) -> bool:
    """Whether the file begins as a .bin does."""
    with open(source, "rb") as file:
        start = file.read(4)
    return start == struct.pack("<i", MAGIC)


# ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(source: Path) -> Found:
    """Read a .bin. Errors: damaged, quantised, a classifier, a later version → ArtefactError with its place; more than
    the memory there is → ResourceError. Every size is compared with the file's own before anything is allocated."""
    if not source.stat().st_size:
        raise ArtefactError("the file is empty", file=source)
    with open(source, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        walk = _Walk(raw, source)
        magic, version = walk.take(_START, "start")
        if magic != MAGIC or not 11 <= version <= VERSION:
            raise walk.wrong(f"expected version 11 or {VERSION} of fastText's .bin, found {version}", "start")
        *args, sample = walk.take(_ARGS, "args")
        words, counts = walk.words()
        config, bucket = _config(walk, args, sample)
        found = walk.matrix("input", len(words) + bucket, config.width)
        arrays = {STATIC_TABLE: found[: len(words)], NGRAMS: found[len(words) :]}
        output = walk.matrix("output", None, config.width)
        if args[6] == _NEGATIVE_SAMPLING and len(output) == len(words):
            arrays[OUTWARD] = output
        if walk.at != len(raw):
            raise walk.wrong(f"{len(raw) - walk.at:,} bytes follow the end", "end")
    check(words, arrays[STATIC_TABLE], source)
    for name in (NGRAMS, OUTWARD):
        check((), arrays.get(name, np.zeros((0, 1), np.float32)), source)
    return Found(words=words, counts=counts, config=config, arrays=arrays)


class _Walk:
    """From front to back through the bytes of a file."""

    def __init__(self, raw: mmap.mmap, source: Path) -> None:
        self.raw, self.source, self.at = raw, source, 0

    def wrong(self, rule: str, place: str, remedy: str = "") -> ArtefactError:
        return ArtefactError(rule, file=self.source, place=place, remedy=remedy)

    def take(self, shape: struct.Struct, place: str) -> tuple[Any, ...]:
        if self.at + shape.size > len(self.raw):
            raise self.wrong("the file ends too early", place)
        self.at += shape.size
        return shape.unpack_from(self.raw, self.at - shape.size)

    def words(self) -> tuple[list[str], list[int]]:
        size, count, labels, _, pruned = self.take(_DICTIONARY, "dictionary")
        if labels or size != count:
            raise self.wrong(f"{labels} labels: a classifier, not vectors of words", "dictionary")
        if pruned > 0:
            raise self.wrong("a pruned dictionary, as quantised models have", "dictionary", "convert the .bin it was made from")
        if not 0 < count * (_ENTRY.size + 1) <= len(self.raw) - self.at:
            raise self.wrong(f"the header claims {count} words, the file has {len(self.raw):,} bytes", "dictionary")
        words, counts = [], []
        for number in range(count):
            place = f"word {number + 1}"
            end = self.raw.find(b"\0", self.at, self.at + LONGEST_WORD)
            if end < 0:
                raise self.wrong("the file ends, or goes astray, inside a word", place)
            try:
                words.append(self.raw[self.at : end].decode())
            except UnicodeDecodeError as error:
                raise self.wrong(str(error), place) from error
            self.at = end + 1
            times, _ = self.take(_ENTRY, place)
            if times < 0:
                raise self.wrong(f"a count of {times}", place)
            counts.append(times)
        return words, counts

    def matrix(self, name: str, rows: int | None, width: int) -> Table:
        place = f"{name} matrix"
        (quantised,) = self.take(struct.Struct("<B"), place)
        if quantised:
            raise self.wrong("a quantised matrix", place, "convert the .bin that the .ftz was made from")
        found, columns = self.take(_SHAPE, place)
        if columns != width or found < 0 or (rows is not None and found != rows):
            raise self.wrong(f"expected {'any' if rows is None else rows} rows of {width} numbers, found {found} of {columns}", place)
        size = 4 * found * columns
        if size > len(self.raw) - self.at:
            raise self.wrong(f"{found} rows of {columns} numbers, and {len(self.raw) - self.at:,} bytes are left", place)
        require_room(size, self.source)
        self.at += size
        return np.frombuffer(self.raw, "<f4", found * columns, self.at - size).reshape(found, columns).astype(np.float32)


def _config(walk: _Walk, args: list[int], sample: float) -> tuple[FastTextConfig, int]:
    """The settings, and how many buckets have a row. A value that only training reads is brought into its range."""
    width, window, epochs, least, negatives, _, _, model, bucket, min_n, max_n, _ = args
    if model == _CLASSIFIER:
        raise walk.wrong("a classifier, not vectors of words", "args")
    if not 0 < width <= MOST_WIDTH or not 0 <= bucket <= MOST_BUCKETS or min_n < 0 or max_n < 0:
        raise walk.wrong(f"impossible settings: dim {width}, bucket {bucket}, minn {min_n}, maxn {max_n}", "args")
    config = FastTextConfig(
        architecture="cbow" if model == _CBOW else "skip-gram",
        width=width, window=max(1, min(window, 1000)), epochs=max(1, epochs), min_count=max(1, least),
        negatives=max(1, min(negatives, 1000)), min_n=max(1, min_n), max_n=max_n, bucket=max(1, bucket),
        every_bucket=bucket > 0, sample=sample if 0 <= sample < 1 else 0.0,
    )  # fmt: skip
    if bucket == 0 and max_n >= config.min_n:
        raise walk.wrong("n-grams without buckets", "args")
    return config, bucket


# ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def write(model: Pretrained, out: Path) -> str:
    """Write `model` as a .bin, special tokens left out; read it back and compare. A family without n-grams is written
    as fastText's own of maxn = 0. Rows of n-grams that the model does not keep are zeros there."""
    special = set(model.tokenizer.special.values())
    ids = np.array([i for i in range(model.tokenizer.size) if i not in special], np.int64)
    words = [model.tokenizer.pieces[i] for i in ids.tolist()]
    wrong = next((word for word in words if not word or set(word) & {"\0", "\n", " "} or len(word.encode()) >= LONGEST_WORD), None)
    if wrong is not None or not words:
        raise UsageError(f"a word that this layout cannot hold: {wrong!r}" if words else "no word to write")
    config = model.recipe.family
    table = np.asarray(model.arrays[STATIC_TABLE], np.float32)
    letters = config if isinstance(config, FastTextConfig) else FastTextConfig(width=table.shape[1], max_n=0)
    counts = np.asarray(getattr(model.tokenizer, "counts", ()), np.int64)
    counts = counts[ids] if len(counts) == model.tokenizer.size else np.zeros(len(ids), np.int64)
    told = np.asarray(model.arrays.get(OUTWARD, np.zeros_like(table)), np.float32)[ids]
    bucket = 0 if letters.max_n < letters.min_n else letters.bucket
    with open(out, "wb") as file:
        file.write(_START.pack(MAGIC, VERSION))
        file.write(_ARGS.pack(*_args(letters, bucket), letters.sample))
        file.write(_DICTIONARY.pack(len(words), len(words), 0, max(1, int(counts.sum())), -1))
        for word, count in zip(words, counts.tolist(), strict=True):
            file.write(word.encode() + b"\0" + _ENTRY.pack(count, 0))
        file.write(b"\0" + _SHAPE.pack(len(words) + bucket, letters.width))
        _write_rows(file, [table[ids], *_buckets(model, letters, bucket)])
        file.write(b"\0" + _SHAPE.pack(len(words), letters.width))
        _write_rows(file, [told])
    again = read(out)
    if again.words != words or not np.array_equal(again.arrays[STATIC_TABLE], table[ids]) or again.counts != counts.tolist():
        raise ArtefactError("what was written does not read back as it was", file=out)
    at = 0
    for rows in _buckets(model, letters, bucket):
        if not np.array_equal(again.arrays[NGRAMS][at : at + len(rows)], rows):
            raise ArtefactError("what was written does not read back as it was", file=out, place="buckets")
        at += len(rows)
    return f"{out}: {len(words):,} words and {bucket:,} buckets of {letters.width} numbers, read back and equal"


def _args(config: FastTextConfig, bucket: int) -> tuple[int, ...]:
    """dim, ws, epoch, minCount, neg, wordNgrams, loss, model, bucket, minn, maxn, lrUpdateRate (its default)."""
    model = _CBOW if config.architecture == "cbow" else _SKIP_GRAM
    epochs, shortest = max(1, round(config.epochs)), config.min_n if bucket else 0
    longest = config.max_n if bucket else 0
    return (
        config.width, config.window, epochs, config.min_count, config.negatives, 1, _NEGATIVE_SAMPLING, model, bucket,
        shortest, longest, 100,
    )  # fmt: skip


def _buckets(model: Pretrained, config: FastTextConfig, bucket: int) -> Iterator[Table]:
    """The rows of all buckets [B,D], some at a time."""
    if not bucket:
        return
    from foretext.models.word2vec.subwords import subwords

    grams = np.asarray(model.arrays[NGRAMS], np.float32)
    kept = subwords(model.tokenizer, config).kept
    for start in range(0, bucket, _ROWS):
        stop = min(start + _ROWS, bucket)
        if kept is None:
            yield grams[start:stop]
            continue
        rows = np.zeros((stop - start, config.width), np.float32)
        first, last = np.searchsorted(kept, [start, stop])
        rows[kept[first:last] - start] = grams[first:last]
        yield rows


def _write_rows(file: BinaryIO, parts: "list[Table]") -> None:
    for part in parts:
        file.write(np.ascontiguousarray(part, "<f4").tobytes())
