"""Character n-grams of words and the rows they are hashed into, exactly as the released fastText code has them.

V words · G their n-grams, one after the other · K rows of n-grams kept · D width
Source: facebookresearch/fastText 0.9.2, src/dictionary.cc (computeSubwords, hash, initNgrams).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec.kernel import Table
from foretext.types import Ints, Tokenizer

END_OF_LINE = "</s>"
"""The released code's word for the end of a line; it alone has no n-grams."""

Rows = NDArray[np.int32]
Offsets = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_BASIS, _PRIME, _LOW32 = np.uint64(2166136261), np.uint64(16777619), np.uint64(0xFFFFFFFF)
_NONE = np.int32(-1)
_SPELT = 1 << 15
"""Words that are spelt at once."""
_ONE64, _S1, _S2, _S4, _S56 = (np.uint64(s) for s in (1, 1, 2, 4, 56))
_EVEN, _PAIRS, _FOURS, _BYTES = (np.uint64(m) for m in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101))


class Shape(Protocol):
    """What of a config decides the n-grams."""

    @property
    def min_n(self) -> int: ...
    @property
    def max_n(self) -> int: ...
    @property
    def bucket(self) -> int: ...
    @property
    def every_bucket(self) -> bool: ...


@jit
def _hash(text: Bytes, start: int, stop: int) -> Any:
    """32-bit FNV-1a, but that each byte counts as a signed one, as the released code has it: bytes from 0x80 on flip
    the upper 24 bits as well."""
    h = _BASIS
    for i in range(start, stop):
        signed = np.uint64(text[i]) if text[i] < 0x80 else np.uint64(0xFFFFFF00) | np.uint64(text[i])
        h = ((h ^ signed) * _PRIME) & _LOW32  # Numba widens 32-bit products
    return h


@jit
def _walk(text: Bytes, start: int, stop: int, min_n: int, max_n: int, bucket: int, out: Rows, at: int) -> Any:
    """The buckets of the n-grams of "<word>", text[start:stop], into `out` from `at` on (an empty `out`: only counted);
    answers where they end."""
    for i in range(start, stop):
        if text[i] & 0xC0 == 0x80:  # inside a character
            continue
        j, n = i, 1
        while j < stop and n <= max_n:
            j += 1
            while j < stop and text[j] & 0xC0 == 0x80:
                j += 1
            if n >= min_n and not (n == 1 and (i == start or j == stop)):
                if out.shape[0] > 0:
                    out[at] = np.int32(np.int64(_hash(text, i, j)) % bucket)
                at += 1
            n += 1
    return at


@jit
def _walk_all(text: Bytes, ends: Offsets, min_n: int, max_n: int, bucket: int, first: Offsets, out: Rows) -> None:
    at, start = np.int64(0), np.int64(0)
    for word in range(ends.shape[0]):
        at = _walk(text, start, ends[word], min_n, max_n, bucket, out, at)
        first[word + 1] = at
        start = ends[word]


def buckets(words: Sequence[str], config: Shape, *, without: Collection[int] = ()) -> tuple[Offsets, Rows]:
    """The buckets [G] of each word's n-grams, repeated ones repeated, and where each word's begin: first [V+1].
    `without`: places of words that have none, such as special tokens."""
    none = {*without, *(i for i, word in enumerate(words) if word == END_OF_LINE)}
    parts, ends = [], np.empty(len(words), np.int64)
    for start in range(0, len(words), _SPELT):
        some = range(start, min(start + _SPELT, len(words)))
        spelt = [b"" if i in none else b"<%b>" % words[i].encode("utf-8", "surrogatepass") for i in some]
        ends[start : some.stop] = [len(one) for one in spelt]
        parts.append(b"".join(spelt))
    ends = np.cumsum(ends)
    text = np.frombuffer(b"".join(parts), np.uint8)
    first = np.zeros(len(words) + 1, np.int64)
    settings = (config.min_n, config.max_n, config.bucket, first)
    _walk_all(text, ends, *settings, np.empty(0, np.int32))
    out = np.empty(first[-1], np.int32)
    if len(out):
        _walk_all(text, ends, *settings, out)
    return first, out


@dataclass(frozen=True, slots=True, kw_only=True)
class Subwords:
    """A vocabulary's n-grams as rows of the n-gram table: word w has `rows[first[w] : first[w + 1]]`.

    `kept` [K]: the buckets that have a row, ascending; None: all, row = bucket.
    """

    config: Shape
    first: Offsets
    rows: Rows
    kept: Rows | None

    @property
    def size(self) -> int:
        """K, rows of the n-gram table."""
        return self.config.bucket if self.kept is None else len(self.kept)

    def among(self, words: Ints) -> tuple[Offsets, Ints, Rows]:
        """For a table of the n-gram rows that `words` [n] have alone: first [n+1], which rows these are, ascending, and
        the words' rows as numbers among them."""
        lengths = self.first[words + 1] - self.first[words]
        first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(first[-1]) + np.repeat(self.first[words] - first[:-1], lengths)
        used, rows = np.unique(self.rows[at], return_inverse=True)
        return first, used, rows.astype(np.int32)

    def of(self, words: Sequence[str]) -> tuple[Offsets, Rows]:
        """The same for any words: first [n+1] and rows [G], −1 where a bucket has no row (a row of zeros)."""
        first, found = buckets(words, self.config)
        if self.kept is None:
            return first, found
        at = np.minimum(np.searchsorted(self.kept, found), max(0, len(self.kept) - 1))
        rows: Rows = np.where(self.kept[at] == found, at, _NONE).astype(np.int32) if len(self.kept) else np.full(len(found), _NONE)
        return first, rows


def subwords(tokenizer: Tokenizer, config: Shape, size: int | None = None) -> Subwords:
    """The n-grams of the first `size` words of the vocabulary (None: all); special tokens have none."""
    words = tokenizer.pieces[:size]
    special = {number for number in tokenizer.special.values() if number < len(words)}
    first, found = buckets(words, config, without=special)
    if config.every_bucket:
        return Subwords(config=config, first=first, rows=found, kept=None)
    return Subwords(config=config, first=first, rows=found, kept=_numbered(found, config.bucket))


def _numbered(found: Rows, bucket: int) -> Rows:
    """Put in the place of each bucket its number among those that occur; answers these, ascending. One bit a bucket, and
    no sorting: n-grams are many times as many as words."""
    bits, before = np.zeros(bucket // 64 + 1, np.uint64), np.zeros(bucket // 64 + 2, np.int32)
    _mark(found, bits, before)
    kept = np.empty(before[-1], np.int32)
    _number(found, bits, before, kept)
    return kept


@jit
def _ones(bits: Any) -> Any:
    """How many bits are 1."""
    bits -= (bits >> _S1) & _EVEN
    bits = (bits & _PAIRS) + ((bits >> _S2) & _PAIRS)
    return np.int32((((bits + (bits >> _S4)) & _FOURS) * _BYTES) >> _S56)


@jit
def _mark(found: Rows, bits: NDArray[np.uint64], before: Rows) -> None:
    """A bit for each bucket that occurs, and how many occur before each 64 of them."""
    for i in range(found.shape[0]):
        bits[found[i] >> 6] |= _ONE64 << np.uint64(found[i] & 63)
    for w in range(bits.shape[0]):
        before[w + 1] = before[w] + _ones(bits[w])


@jit
def _number(found: Rows, bits: NDArray[np.uint64], before: Rows, kept: Rows) -> None:
    for i in range(found.shape[0]):
        w, below = found[i] >> 6, (_ONE64 << np.uint64(found[i] & 63)) - _ONE64
        number = before[w] + _ones(bits[w] & below)
        kept[number] = found[i]
        found[i] = number


@jit
def put_together(words: Table, grams: Table, first: Offsets, rows: Rows, numbers: Rows, out: Table) -> None:
    """out[i] = the vector of word numbers[i]: the mean of its row of `words` [V,D] and of its n-grams' of `grams` [K,D].
    A row −1 of `rows` is zeros; a number −1 − i is a word without a row of its own, whose n-grams are those of i."""
    for i in range(numbers.shape[0]):
        word = np.int64(numbers[i])
        if word >= 0:
            out[i, :] = words[word]
        else:
            word = -1 - word
            out[i, :] = np.float32(0.0)
        start, stop = first[word], first[word + 1]
        for g in range(start, stop):
            row = np.int64(rows[g])
            if row >= 0:
                for d in range(out.shape[1]):
                    out[i, d] += grams[row, d]
        count = stop - start + (1 if numbers[i] >= 0 else 0)
        if count > 1:
            share = np.float32(1.0 / count)
            for d in range(out.shape[1]):
                out[i, d] *= share


WORDS = "table.weight"
GRAMS = "ngrams.weight"
"""The two tables' names within the encoder, [V,D] and [K,D]."""


class Spelt:
    """What a model at rest makes of letters (`catalog.Family.spelling`): `vectors(words)`. `arrays`: of its folder. The
    vocabulary's n-grams are found once, so that a word more costs its own letters alone."""

    def __init__(self, config: Any, arrays: Any, tokenizer: Tokenizer) -> None:
        inside = {name.split(".", 2)[2]: array for name, array in arrays.items() if name.startswith("encoders.")}
        self._own, self._grams = np.asarray(inside[WORDS]), np.asarray(inside[GRAMS])
        self._known = subwords(tokenizer, config)
        self._ids = {piece: number for number, piece in enumerate(tokenizer.pieces)}

    def vectors(self, words: Sequence[str] | None) -> Table:
        """[V,D] of the vocabulary (`words` None), or [n,D] of words of any spelling: a known one's with its own row, any
        other's from n-grams alone, zeros where these are unknown too."""
        if words is None:
            return self._of_known(np.arange(len(self._own), dtype=np.int32))
        out = np.empty((len(words), self._own.shape[1]), np.float32)
        first, rows = self._known.of(words)
        put_together(self._own, self._grams, first, rows, -1 - np.arange(len(words), dtype=np.int32), out)
        seen = [i for i, word in enumerate(words) if word in self._ids]
        if seen:
            out[seen] = self._of_known(np.array([self._ids[words[i]] for i in seen], np.int32))
        return out

    def _of_known(self, numbers: Rows) -> Table:
        out = np.empty((len(numbers), self._own.shape[1]), np.float32)
        put_together(self._own, self._grams, self._known.first, self._known.rows, numbers, out)
        return out
