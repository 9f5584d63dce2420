"""Counting n-grams in bounded memory: blocks are sorted, equal n-grams summed, and sorted runs merged.

An n-gram is two unsigned 64-bit numbers that hold its words from the last one leftwards, `bits` bits each (0 where
nothing stands any more). So runs are in suffix order: n-grams that share their last words are neighbours, which is the
order in which Kneser-Ney counts left neighbours (as in Heafield et al. 2013, "Scalable Modified Kneser-Ney Language
Model Estimation", section 3). Runs of like size are merged two at a time, so every n-gram is copied a logarithmic number
of times; what does not fit into memory lies in files without a name, which vanish with the process.

N distinct n-grams
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.disk import forget
from foretext.errors import ResourceError, UsageError
from foretext.kernels import jit
from foretext.types import Ints

Words64 = NDArray[np.uint64]
_ROW = 24
"""Bytes of an n-gram and its count."""
_STRETCH = 1 << 16
"""N-grams merged at a time."""
_FEW = 1 << 16
"""Bytes that are never worth a file."""
_MOST_WAITING = 2.0
"""A run is merged into the one before it unless that is more than so many times as long."""


@dataclass(frozen=True, slots=True)
class Run:
    """Distinct n-grams in order: `high`, `low` [N] their words, `counts` [N]. `held`: bytes of memory, 0 on disk."""

    high: Words64
    low: Words64
    counts: NDArray[np.int64]
    held: int = 0

    def __len__(self) -> int:
        return len(self.counts)


@dataclass(frozen=True, slots=True)
class Packing:
    """How an n-gram of `order` words of a vocabulary of `size` becomes two numbers. UsageError where it cannot."""

    order: int
    size: int

    def __post_init__(self) -> None:
        if self.order > 2 * self.each:
            raise UsageError(
                f"n-grams of order {self.order} over a vocabulary of {self.size:,} do not fit into 128 bits",
                place="family.order",
                remedy="use a lower order, or a smaller vocabulary",
            )

    @property
    def bits(self) -> int:
        """Bits of a word; 0 stands for nothing, so words count from 1."""
        return int(self.size).bit_length()

    @property
    def each(self) -> int:
        """Words in one number."""
        return 64 // self.bits

    def pack(self, codes: Ints) -> tuple[Words64, Words64]:
        """`codes` [M, order], the last word first, 0 for nothing: (high [M], low [M])."""
        parts = []
        for first in (0, self.each):
            number = np.zeros(len(codes), np.uint64)
            for column in range(first, first + self.each):
                number <<= np.uint64(self.bits)
                if column < self.order:
                    number |= codes[:, column].astype(np.uint64)
            parts.append(number)
        return parts[0], parts[1]

    def column(self, high: Words64, low: Words64, place: int) -> Ints:
        """The word codes [M] at `place` (0: the last word) of packed n-grams."""
        number, inside = (high, place) if place < self.each else (low, place - self.each)
        shift = np.uint64(self.bits * (self.each - 1 - inside))
        found: Ints = ((number >> shift) & np.uint64((1 << self.bits) - 1)).astype(np.int64)
        return found


def sorted_run(high: Words64, low: Words64, counts: Ints | None = None) -> Run:
    """A run of n-grams in any order, each counted once (or `counts` times)."""
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    first = np.ones(len(high), np.bool_)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    starts = np.flatnonzero(first)
    if counts is None:
        summed = np.diff(np.append(starts, len(high)))
    else:
        summed = np.add.reduceat(np.asarray(counts, np.int64)[order], starts) if len(starts) else np.zeros(0, np.int64)
    return Run(high[starts], low[starts], summed.astype(np.int64), _ROW * len(starts))


class Counts:
    """Runs that grow: `add` one, read them `merged`. At most about `memory` bytes of them are held; files of the rest
    lie in `folder`."""

    def __init__(self, memory: int, folder: Path | None = None) -> None:
        self._memory, self._folder = memory, folder
        self._runs: list[Run] = []

    def add(self, run: Run) -> None:
        """One more sorted run."""
        if len(run):
            self._runs.append(self._settled(run))
        while len(self._runs) > 1 and len(self._runs[-2]) <= _MOST_WAITING * len(self._runs[-1]):
            self._merge_last()

    def merged(self) -> Run:
        """All n-grams in one run, which then stands in place of the others."""
        while len(self._runs) > 1:
            self._merge_last()
        empty = np.zeros(0, np.uint64)
        return self._runs[0] if self._runs else Run(empty, empty, np.zeros(0, np.int64))

    def on_disk(self) -> int:
        """Runs that lie in files."""
        return sum(not run.held for run in self._runs)

    def room(self) -> "Room":
        """For arrays of the memory that is left."""
        return Room(self._memory - sum(run.held for run in self._runs), self._folder)

    def _merge_last(self) -> None:
        b, a = self._runs.pop(), self._runs.pop()
        high, low, counts, held = self._room(len(a) + len(b), a.held + b.held)
        given, made = (a.high, a.low, a.counts, b.high, b.low, b.counts), (high, low, counts)
        i = j = size = 0
        while i < len(a) or j < len(b):
            i, j, size = merge(*given, *made, i, j, size, size + _STRETCH)
            forget(*given, *made)
        self._runs.append(Run(high[:size], low[:size], counts[:size], held))

    def _settled(self, run: Run) -> Run:
        """`run`, in a file where memory is full."""
        high, low, counts, held = self._room(len(run), run.held)
        if held:
            return run
        high[:], low[:], counts[:] = run.high, run.low, run.counts
        forget(high, low, counts)
        return Run(high, low, counts)

    def _room(self, size: int, beside: int) -> tuple[Any, Any, Any, int]:
        """Columns for `size` n-grams, in memory if they fit there with the other runs and `beside` bytes."""
        held = sum(run.held for run in self._runs) + beside
        if _ROW * size + held <= self._memory:
            return np.empty(size, np.uint64), np.empty(size, np.uint64), np.empty(size, np.int64), _ROW * size
        high, low, counts = (_file(self._folder, size, kind) for kind in (np.uint64, np.uint64, np.int64))
        return high, low, counts, 0


class Room:
    """Working arrays of zeros: in memory as far as `left` bytes of it go, else in files of `folder`."""

    def __init__(self, left: int, folder: Path | None = None) -> None:
        self.left, self._folder = left, folder

    def array(self, size: int, dtype: Any) -> Any:
        """An array [size]."""
        needed = size * np.dtype(dtype).itemsize
        if needed > self.left and needed > _FEW:
            return _file(self._folder, size, dtype)
        self.left -= needed
        return np.zeros(size, dtype)

    def back(self, *arrays: Any) -> None:
        """These are not needed any more: the room that they took in memory is free."""
        self.left += sum(array.nbytes for array in arrays if not isinstance(array, np.memmap))


def _file(folder: Path | None, size: int, dtype: Any) -> Any:
    """An array [size] of zeros in a file without a name. Its blocks are reserved now: a write to a mapped page for which the disk
    has no room ends a process with a signal (SIGBUS), without a word."""
    needed = size * np.dtype(dtype).itemsize
    with tempfile.TemporaryFile(prefix=".foretext-ngram-", dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, needed)
        except OSError as error:
            where = folder or tempfile.gettempdir()
            raise ResourceError(
                f"counts need {needed:,} bytes beside those in memory ({error.strerror})", file=where,
                remedy="free some disk space, or allow more memory (family.memory)",
            ) from error  # fmt: skip
        return np.memmap(file, dtype=dtype, mode="w+", shape=(size,))


@jit
def merge(
    a_high: Words64, a_low: Words64, a_counts: Ints, b_high: Words64, b_low: Words64, b_counts: Ints,
    high: Words64, low: Words64, counts: Ints, i: int, j: int, size: int, stop: int,
) -> tuple[int, int, int]:
    """Two runs into one, from their n-grams `i` and `j` on, until it has `stop`; answers how far it came: i, j, size."""
    while size < stop and (i < len(a_counts) or j < len(b_counts)):
        if j == len(b_counts):
            side = -1
        elif i == len(a_counts):
            side = 1
        elif a_high[i] != b_high[j]:
            side = -1 if a_high[i] < b_high[j] else 1
        elif a_low[i] != b_low[j]:
            side = -1 if a_low[i] < b_low[j] else 1
        else:
            side = 0
        total = 0
        if side <= 0:
            high[size], low[size] = a_high[i], a_low[i]
            total += a_counts[i]
            i += 1
        if side >= 0:
            high[size], low[size] = b_high[j], b_low[j]
            total += b_counts[j]
            j += 1
        counts[size] = total
        size += 1
    return i, j, size
