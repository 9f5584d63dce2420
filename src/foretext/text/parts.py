"""How a token store is written: each shard becomes part files, then parts are copied end to end in bounded memory."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foretext.text.lines import Block
from foretext.text.shards import joined
from foretext.text.tokenizers.chunked import ChunkTokenizer
from foretext.types import Bits, Corpus, Ints, Tokenizer

CHARACTERS = 1 << 20
"""Characters encoded at once."""
ROWS = 1 << 20
"""Rows of a file handled at once; a multiple of 8, so that packed bits end at a byte."""
COLUMNS = ("ids", "word_starts", "lengths", "hashes", "first")
"""A part's files: per token its id and a byte "starts a word"; per sentence its tokens (int32), a hash of its text with
its length in characters (two uint64), and a byte "first of its document"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much a part, or a whole store, holds."""

    tokens: int
    sentences: int
    documents: int


def id_type(vocabulary: int) -> np.dtype[np.unsignedinteger]:
    """The smallest unsigned type, little endian, that holds ids below `vocabulary`."""
    return np.dtype("u1" if vocabulary <= 1 << 8 else "<u2" if vocabulary <= 1 << 16 else "<u4")


def write_part(corpus: Corpus, shard: int, of: int, tokenizer: Tokenizer, folder: Path) -> Sizes:
    """Encode one shard into `folder/<shard>.<column>` files. Sentences without tokens are left out."""
    with _Part(folder, shard, id_type(tokenizer.size)) as part:
        for strings, numbers in _batches(corpus, shard, of):
            ids, lengths, starts = tokenizer.ids(strings)
            kept = np.flatnonzero(lengths)
            texts = [strings[at].strip() for at in kept.tolist()]
            characters = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
            hashes = _hashes((text.encode("utf-8", "surrogatepass") for text in texts), characters)
            part.add(ids, starts, lengths[kept], hashes, np.array(numbers, dtype=np.int64)[kept])
        return part.sizes()


def write_lines(blocks: Iterable[Block], tokenizer: ChunkTokenizer, folder: Path, threads: int) -> Sizes:
    """The same for a whole corpus of lines, as shard 0; the tokenizer's chunks are what stands between white space."""
    from foretext.text.numbering import number_blocks

    lexicon, entries = None, np.empty(0, np.int32)
    with _Part(folder, 0, id_type(tokenizer.size)) as part:
        due, document = True, -1
        for found in number_blocks(blocks, threads):
            if found.lexicon is not lexicon:
                lexicon, entries = found.lexicon, entries[:0]
            entries = np.concatenate([entries, tokenizer.entries(lexicon.words[len(entries) : found.distinct])])
            ids, lengths = _seen(entries[found.numbers], found.lines[:, 2].astype(np.int64))
            first, due = found.starts(due or found.block.first)
            documents = document + np.cumsum(first, dtype=np.int64)
            document = int(documents[-1]) if len(documents) else document
            kept = np.flatnonzero(lengths)
            part.add(ids, np.ones(len(ids), np.bool_), lengths[kept], _hashes(found.texts(kept), found.characters()[kept]), documents[kept])
        return part.sizes()


def _seen(ids: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Ids and lengths without the words of nothing but invisible characters, whose id is negative."""
    if not len(ids) or ids.min() >= 0:
        return ids, lengths
    line = np.repeat(np.arange(len(lengths)), lengths)[ids >= 0]
    return ids[ids >= 0], np.bincount(line, minlength=len(lengths))


class _Part:
    """The files of one part while they are written."""

    def __init__(self, folder: Path, shard: int, dtype: np.dtype[Any]) -> None:
        self._files = {column: open(folder / f"{shard}.{column}", "wb") for column in COLUMNS}  # noqa: SIM115
        self._dtype, self._last = dtype, -1
        self._tokens = self._sentences = self._documents = 0

    def add(self, ids: Ints, starts: Bits, lengths: Ints, hashes: NDArray[np.uint64], document: Ints) -> None:
        """More sentences, all of them with tokens; `document` [s]: the number of each one's document."""
        first = document != np.concatenate([[self._last], document[:-1]])
        self._last = int(document[-1]) if len(document) else self._last
        columns = {"ids": ids.astype(self._dtype), "word_starts": starts.view(np.uint8), "lengths": lengths.astype("<i4")}
        for column, values in {**columns, "hashes": hashes, "first": first.view(np.uint8)}.items():
            values.tofile(self._files[column])
        self._tokens += len(ids)
        self._sentences += len(lengths)
        self._documents += int(first.sum())

    def sizes(self) -> Sizes:
        """What has been added."""
        return Sizes(tokens=self._tokens, sentences=self._sentences, documents=self._documents)

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *failure: object) -> None:
        for file in self._files.values():
            file.close()


def _batches(corpus: Corpus, shard: int, of: int) -> Iterator[tuple[list[str], list[int]]]:
    """Sentences and their document numbers, about `CHARACTERS` characters at a time."""
    strings: list[str] = []
    numbers: list[int] = []
    characters = 0
    for string, sentence in joined(corpus.sentences(shard, of)):
        strings.append(string)
        numbers.append(sentence.document)
        characters += len(string)
        if characters >= CHARACTERS:
            yield strings, numbers
            strings, numbers, characters = [], [], 0
    if strings:
        yield strings, numbers


def _hashes(texts: Iterable[bytes], characters: Ints) -> NDArray[np.uint64]:
    """[n,2] 64 bits of each text (stripped, in UTF-8), and its characters: tokens have no say, so every store of a corpus
    holds out the same documents, whatever its tokenizer."""
    digests = [hashlib.blake2b(text, digest_size=8).digest() for text in texts]
    return np.stack([np.frombuffer(b"".join(digests), dtype="<u8"), characters.astype("<u8")], axis=1)


def merge_parts(parts: Path, of: int, folder: Path, dtype: DTypeLike) -> Sizes:
    """Copy all parts end to end into `ids.bin`, `word_starts.bin` (packed), `sentences.bin` and `documents.bin` (int64
    offsets, with the end), and `hashes.bin`; each part is removed once it is copied."""
    totals = {"tokens": 0, "sentences": 0, "documents": 0}
    with _Bits(folder / "word_starts.bin") as bits, open(folder / "ids.bin", "wb") as ids:
        for shard in range(of):
            for block in rows(parts / f"{shard}.ids", dtype):
                block.tofile(ids)
                totals["tokens"] += len(block)
            for block in rows(parts / f"{shard}.word_starts", np.uint8):
                bits.write(block)
            _remove(parts, shard, ("ids", "word_starts"))
    with open(folder / "sentences.bin", "wb") as sentences, open(folder / "documents.bin", "wb") as documents:
        tokens = 0
        with open(folder / "hashes.bin", "wb") as hashes:
            for shard in range(of):
                for lengths, first in zip(
                    rows(parts / f"{shard}.lengths", "<i4"), rows(parts / f"{shard}.first", np.uint8), strict=True
                ):
                    ends = tokens + np.cumsum(lengths, dtype=np.int64)
                    (ends - lengths).astype("<i8").tofile(sentences)
                    starts = totals["sentences"] + np.flatnonzero(first)
                    starts.astype("<i8").tofile(documents)
                    tokens = int(ends[-1])
                    totals["sentences"] += len(lengths)
                    totals["documents"] += len(starts)
                for block in rows(parts / f"{shard}.hashes", "<u8"):
                    block.tofile(hashes)
                _remove(parts, shard, ("lengths", "first", "hashes"))
        assert tokens == totals["tokens"], (tokens, totals)
        np.array([tokens], dtype="<i8").tofile(sentences)
        np.array([totals["sentences"]], dtype="<i8").tofile(documents)
    return Sizes(**totals)


def _remove(parts: Path, shard: int, columns: Sequence[str]) -> None:
    for column in columns:
        (parts / f"{shard}.{column}").unlink()


def rows(file: Path, dtype: DTypeLike) -> Iterator[NDArray[Any]]:
    """The file's rows, `ROWS` at a time."""
    with open(file, "rb") as handle:
        while len(block := np.fromfile(handle, dtype=dtype, count=ROWS)):
            yield block


class _Rows:
    """A file's rows by slices, read and not mapped: what has been mapped stays in this process's memory as far as the
    system has room."""

    def __init__(self, file: Path, dtype: DTypeLike) -> None:
        self._file, self._dtype = file, np.dtype(dtype)
        self._length = file.stat().st_size // self._dtype.itemsize

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> NDArray[Any]:
        start, stop, _ = part.indices(self._length)
        return np.fromfile(self._file, self._dtype, max(0, stop - start), offset=start * self._dtype.itemsize)


class _Bits:
    """Writes 0/1 bytes as packed bits, whatever the sizes of the blocks."""

    def __init__(self, file: Path) -> None:
        self._file: BinaryIO = open(file, "wb")  # noqa: SIM115
        self._rest = np.zeros(0, dtype=np.uint8)

    def write(self, block: NDArray[Any]) -> None:
        whole = np.concatenate([self._rest, block.astype(np.uint8)])
        ready = len(whole) // 8 * 8
        np.packbits(whole[:ready], bitorder="little").tofile(self._file)
        self._rest = whole[ready:]

    def __enter__(self) -> "_Bits":
        return self

    def __exit__(self, *failure: object) -> None:
        np.packbits(self._rest, bitorder="little").tofile(self._file)
        self._file.close()


# ── what is held out ────────────────────────────────────────────────────────────────────────────────────────────────

FEWEST_DOCUMENTS = 20
"""Corpora with fewer documents hold out blocks of sentences instead of whole documents."""
_BUCKETS = 1 << 16


def choose_held_out(folder: Path, sizes: Sizes, share: float, seed: int) -> None:
    """Write `held_out.bin`, a byte a sentence: whole documents, or in a corpus of few documents blocks of up to 64
    consecutive sentences, in the order of a hash of (seed, their text) until `share` of all characters is reached.

    A unit larger than half again the share is passed over, unless every unit is: then the first one of no more than
    twice the mean size is held out. Something is held out whenever there are two units, never everything.
    """
    documents = _Rows(folder / "documents.bin", "<i8")
    units = documents if sizes.documents >= FEWEST_DOCUMENTS else _blocks(documents[:], sizes.sentences)
    hashes = _Rows(folder / "hashes.bin", "<u8,<u8")
    buckets = np.empty(len(units) - 1, dtype=np.uint16)
    weights = np.zeros(_BUCKETS)
    for at in range(0, len(buckets), ROWS // 8):
        edges = units[at : at + ROWS // 8 + 1]
        pairs = hashes[edges[0] : edges[-1]].view("<u8").reshape(-1, 2)
        sums = np.add.reduceat(pairs, edges[:-1] - edges[0], axis=0)
        found = (_mixed(sums[:, 0] + _mixed(np.array([seed % (1 << 64)], np.uint64))) >> np.uint64(48)).astype(
            np.uint16
        )
        buckets[at : at + len(found)] = found
        weights += np.bincount(found, weights=sums[:, 1].astype(np.float64), minlength=_BUCKETS)
    chosen = _pick(weights, share, len(buckets))
    with open(folder / "held_out.bin", "wb") as file:
        for at in range(0, len(buckets), ROWS // 8):
            edges = units[at : at + ROWS // 8 + 1]
            held = chosen[buckets[at : at + len(edges) - 1]]
            np.repeat(held, np.diff(edges)).astype(np.uint8).tofile(file)


def _blocks(documents: Ints, sentences: int) -> Ints:
    """Edges [u+1] of blocks of consecutive sentences of one document: a hundredth of the corpus, 1 to 64 sentences."""
    block = min(64, max(1, sentences // 100))
    edges = [np.arange(start, stop, block) for start, stop in pairwise(documents.tolist())]
    return np.concatenate([*edges, np.array([sentences])]).astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finalizer (Steele, Lea and Flood 2014): equal sums apart from a seed get unrelated bits."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _pick(weights: NDArray[np.float64], share: float, units: int) -> Bits:
    """Which buckets [2¹⁶] are held out; `weights`: characters in each."""
    chosen = np.zeros(len(weights), dtype=np.bool_)
    filled = np.flatnonzero(weights)
    total = float(weights.sum())
    if share <= 0 or len(filled) < 2:
        return chosen
    taken = 0.0
    for bucket in filled.tolist():
        if taken >= share * total:
            break
        if taken + weights[bucket] <= 1.5 * share * total:
            chosen[bucket] = True
            taken += weights[bucket]
    if not taken:
        small = filled[weights[filled] <= 2 * total / units]
        chosen[small[0] if len(small) else filled[np.argmin(weights[filled])]] = True
    if chosen[filled].all():
        chosen[filled[-1]] = False
    return chosen


def count_tokens(folder: Path, dtype: DTypeLike, vocabulary: int) -> None:
    """Write `counts.bin` (int64 [V]): how often each id occurs in the part that is not held out."""
    sentences = _Rows(folder / "sentences.bin", "<i8")
    held = _Rows(folder / "held_out.bin", np.bool_)
    ids = _Rows(folder / "ids.bin", dtype)
    counts = np.zeros(vocabulary, dtype=np.int64)
    first = 0
    while first < len(held):
        ahead = sentences[first : first + ROWS + 1]
        last = first + max(1, int(np.searchsorted(ahead, ahead[0] + ROWS, side="right")) - 1)
        last = min(last, len(held))
        edges = ahead[: last - first + 1]
        training = np.repeat(~held[first:last], np.diff(edges))
        counts += np.bincount(ids[edges[0] : edges[-1]][training], minlength=vocabulary)
        first = last
    counts.astype("<i8").tofile(folder / "counts.bin")
