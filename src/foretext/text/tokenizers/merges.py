"""Learning a vocabulary of pieces from word counts by repeated merging (Sennrich, Haddow and Birch 2016, algorithm 1).

The same learner serves byte-level BPE and WordPiece. WordPiece's own trainer was never published; Schuster and
Nakajima (2012) merge by likelihood gain, while the trainers in use (Hugging Face tokenizers) merge the most frequent
pair as here. Ties go to the pair whose symbols came first: no hash order, no threads, the same pieces everywhere.
"""

from array import array
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from foretext.types import Ints

_SHIFT = 32
_LOW = (1 << _SHIFT) - 1
Places: TypeAlias = "list[int] | NDArray[np.int64]"


def learn_merges(
    words: Sequence[Sequence[int]],
    counts: Sequence[int],
    symbols: list[str],
    join: Callable[[str, str], str],
    size: int,
    min_count: int = 2,
) -> list[tuple[int, int]]:
    """Merge the most frequent pair of neighbours until there are `size` symbols or no pair occurs `min_count` times.

    `words` [W]: each a sequence of numbers into `symbols`; `counts` [W]: how often each occurs. `symbols` grows by one
    a merge, unless the joined string exists already. Returns the merged pairs in order.
    """
    if len(symbols) >= size or not words:
        return []
    text = _Text(words, counts)
    pairs, where = text.pairs()
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapify(heap)
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    merges: list[tuple[int, int]] = []
    while heap and len(symbols) < size:
        negative, pair = heappop(heap)
        count = pairs.get(pair, 0)
        if count != -negative:
            # Counts only fall between a push and a pop, but for pairs of new symbols, which are pushed again.
            if count >= min_count:
                heappush(heap, (-count, pair))
            continue
        if count < min_count:
            break
        left, right = pair >> _SHIFT, pair & _LOW
        joined = join(symbols[left], symbols[right])
        number = numbers.setdefault(joined, len(symbols))
        if number == len(symbols):
            symbols.append(joined)
        merges.append((left, right))
        for changed in text.merge(left, right, number, pairs, where):
            heappush(heap, (-pairs[changed], changed))
    return merges


class _Text:
    """All words end to end: a doubly linked list over symbol places, −1 between words, −2 where a symbol was eaten."""

    def __init__(self, words: Sequence[Sequence[int]], counts: Sequence[int]) -> None:
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        total = int(lengths.sum()) + len(words) + 1
        symbol = np.full(total, -1, dtype=np.int64)
        ends = np.cumsum(lengths + 1)
        inner = np.ones(total, dtype=np.bool_)
        inner[0] = False
        inner[ends] = False
        symbol[inner] = np.fromiter((s for word in words for s in word), dtype=np.int64, count=int(lengths.sum()))
        weight = np.zeros(total, dtype=np.int64)
        weight[inner] = np.repeat(np.asarray(counts, dtype=np.int64), lengths)
        self._symbol_array, self._weight_array = symbol, weight
        self.symbol: list[int] = symbol.tolist()
        self.weight = array("q", weight.tobytes())
        self.next = array("q", np.arange(1, total + 1, dtype=np.int64).tobytes())
        self.last = array("q", np.arange(-1, total - 1, dtype=np.int64).tobytes())

    def pairs(self) -> tuple[dict[int, int], dict[int, Places]]:
        """Each pair of neighbours (left << 32 | right) with its count and its places."""
        symbol: Ints = self._symbol_array
        places = np.flatnonzero((symbol[:-1] >= 0) & (symbol[1:] >= 0))
        keys = (symbol[places] << _SHIFT) | symbol[places + 1]
        order = np.argsort(keys, kind="stable")
        keys, places = keys[order], places[order]
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else places
        if not len(keys):
            return {}, {}
        sums = np.add.reduceat(self._weight_array[places], starts)
        distinct = keys[starts].tolist()
        ends = [*starts[1:].tolist(), len(keys)]
        where: dict[int, Places] = {
            pair: places[start:end] for pair, start, end in zip(distinct, starts.tolist(), ends, strict=True)
        }
        return dict(zip(distinct, sums.tolist(), strict=True)), where

    def merge(self, left: int, right: int, new: int, pairs: dict[int, int], where: dict[int, Places]) -> set[int]:
        """Replace every `left right` by `new`; returns the pairs that became more frequent."""
        symbol, following, last, weight = self.symbol, self.next, self.last, self.weight
        grown: set[int] = set()
        places = where.pop(left << _SHIFT | right)
        for at in places if isinstance(places, list) else places.tolist():
            if symbol[at] != left:
                continue
            eaten = following[at]
            if symbol[eaten] != right:
                continue
            count = weight[at]
            before, after = last[at], following[eaten]
            first, second = symbol[before], symbol[after]
            if first >= 0:
                pairs[first << _SHIFT | left] -= count
                pair = first << _SHIFT | new
                grown.add(pair)
                pairs[pair] = pairs.get(pair, 0) + count
                _append(where, pair, before)
            if second >= 0:
                pairs[right << _SHIFT | second] -= count
                pair = new << _SHIFT | second
                grown.add(pair)
                pairs[pair] = pairs.get(pair, 0) + count
                _append(where, pair, at)
            symbol[at], symbol[eaten] = new, -2
            following[at] = after
            last[after] = at
        del pairs[left << _SHIFT | right]
        grown.discard(left << _SHIFT | right)
        return grown


def _append(where: dict[int, Places], pair: int, place: int) -> None:
    places = where.get(pair)
    if places is None:
        where[pair] = [place]
    elif isinstance(places, list):
        places.append(place)
    else:
        where[pair] = [*places.tolist(), place]
