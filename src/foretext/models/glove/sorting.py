"""Counting co-occurrences: which pairs, where each is added up, and in which order; compiled by Numba.

A pair is a row and a column, words by frequency rank. Its key puts pairs in tile order: the tile's row, the tile's column,
then row and column inside the tile. Counts are whole numbers of 2⁻³⁰, so that sums do not depend on the order of adding,
and files not on how often memory ran out.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit, mixed
from foretext.types import Ints

Keys = NDArray[np.uint64]
ONE = 1 << 30
"""A whole co-occurrence."""
DISTANCE = np.uint64(8)
"""Bits of a collected pair below its key: the distance, which gives its weight."""
_HALF = np.uint64(32)
_DIGIT = 11
"""Bits sorted at a time: 2,048 buckets, whose ends stay in the nearest cache."""


def hyperbola(words: int, cells: int) -> tuple[Ints, Ints, int]:
    """Which pairs are counted in a plain array of at most about `cells`: those of frequent words, whose product of ranks is
    below a bound (as `cooccur.c` does), lower rank first. (`base` [R], `reach` [R], cells): pair (a, b), a ≤ b < reach[a],
    has the cell base[a] + b − a."""
    ranks = np.arange(1, words + 1, dtype=np.int64)
    low, high = 0, words * words
    while low < high:  # the largest bound that fits
        bound = (low + high + 1) // 2
        if int(np.maximum(np.minimum(words, bound // ranks) - ranks + 1, 0).sum()) <= cells:
            low = bound
        else:
            high = bound - 1
    reach = np.minimum(words, low // ranks)
    sizes = np.maximum(reach - ranks + 1, 0)
    return np.cumsum(sizes) - sizes, np.where(sizes > 0, reach, 0), int(sizes.sum())


@jit
def before(run: Any, key: Any) -> int:
    """How many rows [n,2] of a sorted run have a key below `key`. (`np.searchsorted` would copy the column first.)"""
    low, high = 0, run.shape[0]
    while low < high:
        middle = (low + high) // 2
        if run[middle, 0] < key:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def key_of(row: Any, column: Any, shift: Any, bits: Any) -> Any:
    """The key of a pair; tiles of 2^`shift` words, tile columns of `bits` bits."""
    mask = (np.uint64(1) << shift) - np.uint64(1)
    row, column = np.uint64(row), np.uint64(column)
    tile = ((row >> shift) << bits) | (column >> shift)
    return (((tile << shift) | (row & mask)) << shift) | (column & mask)


@jit
def stream(ids: Any, ranks: Any, ends: Any, skipped: Any, fresh: Any, window: int, words: Any, low: Any, before: int) -> int:
    """The trained words of a block, and how far each looks back; answers n, the end of the stream.

    `ids` [N]; `ranks` [V], −1 = left out; `ends` [k] where each sentence stops; `skipped` [k]: held out; `fresh` [k]:
    windows begin anew there. `words` begins with `before` words of the block before. Fills `words` [n] and `low` [n]:
    word p meets the words [low[p], p) to its left."""
    n, first, start = before, 0, 0
    for s in range(ends.shape[0]):
        if fresh[s]:
            first = n
        if skipped[s]:
            first = n
        else:
            for t in range(start, ends[s]):
                rank = ranks[ids[t]] if ids[t] < ranks.shape[0] else -1
                if rank >= 0:
                    words[n] = rank
                    low[n] = max(first, n - window)
                    n += 1
        start = ends[s]
    low[n] = max(first, n - window)
    return n


@jit
def collect(words: Any, low: Any, start: int, stop: int, symmetric: bool, base: Any, reach: Any, weights: Keys,
            cells: Keys, keys: Keys, filled: int, shift: Any, bits: Any) -> Any:
    """Count the pairs of words [start, stop) with those to their left, in `cells` or as keys with distances; answers
    (where it stopped because `keys` is full, `filled`).

    `symmetric`: a pair stands for its mirror image too and is counted once, lower rank first; a word beside itself counts
    for both sides. Else the row is the later word, and the cells of (a, b) and (b, a) stand side by side."""
    most = keys.shape[0] - weights.shape[0]
    for p in range(start, stop):
        if filled > most:
            return p, filled
        here = np.int64(words[p])
        for q in range(low[p], p):
            other = np.int64(words[q])
            a, b = min(here, other), max(here, other)
            if b < reach[a]:
                if symmetric:
                    cells[base[a] + b - a] += weights[p - q] << np.uint64(a == b)
                else:
                    cells[2 * (base[a] + b - a) + (here != a)] += weights[p - q]
            else:
                row, column = (a, b) if symmetric else (here, other)
                keys[filled] = (key_of(row, column, shift, bits) << DISTANCE) | np.uint64(p - q)
                filled += 1
    return stop, filled


@jit
def sort(keys: Keys, other: Keys, low: int, high: int) -> bool:
    """Sort by bits [low, high), least digit first; equal ones keep their order. Answers whether the result stands in
    `other` rather than in `keys`."""
    ends = np.empty(1 << _DIGIT, np.int64)
    mask = np.uint64((1 << _DIGIT) - 1)
    swapped = False
    for bit in range(low, high, _DIGIT):
        by = np.uint64(bit)
        source, target = (other, keys) if swapped else (keys, other)
        ends[:] = 0
        for k in range(source.shape[0]):
            ends[(source[k] >> by) & mask] += 1
        place = 0
        for digit in range(ends.shape[0]):
            count = ends[digit]
            ends[digit] = place
            place += count
        for k in range(source.shape[0]):
            digit = (source[k] >> by) & mask
            target[ends[digit]] = source[k]
            ends[digit] += 1
        swapped = not swapped
    return swapped


@jit
def add_up(keys: Keys, start: int, weights: Keys, symmetric: bool, shift: Any, bits: Any, out: Keys) -> Any:
    """Sorted collected pairs from `start` on as (key, sum) rows of `out` [m,2], until one or the other is at its end;
    answers (where it stopped, rows)."""
    n, rows = start, 0
    while n < keys.shape[0] and rows < out.shape[0]:
        key, total = keys[n] >> DISTANCE, np.uint64(0)
        while n < keys.shape[0] and keys[n] >> DISTANCE == key:
            total += weights[keys[n] & np.uint64(255)]
            n += 1
        mask = (np.uint64(1) << shift) - np.uint64(1)
        tile = key >> (shift + shift)
        diagonal = (tile >> bits) == (tile & ((np.uint64(1) << bits) - np.uint64(1))) and ((key >> shift) & mask) == (key & mask)
        out[rows, 0], out[rows, 1] = key, total << np.uint64(symmetric and diagonal)
        rows += 1
    return n, rows


@jit
def sweep(cells: Keys, base: Any, reach: Any, symmetric: bool, side: int, shift: Any, bits: Any, at: Any, out: Keys) -> int:
    """The plain array's non-zeros in tile order as (key, sum) rows of `out` [m,2]; answers the rows.

    `at` [3]: tile row, tile column and row where to go on; when all is said, its tile row is the number of tile rows."""
    words = reach.shape[0]
    across, rows = -(-words // side), 0
    while at[0] < across:
        first = at[1] * side
        last = min(words, first + side)
        # The tile's pair of the most frequent words is outside: so is the whole tile.
        inside = max(at[0], at[1]) * side < reach[min(at[0], at[1]) * side]
        stop = min(words, (at[0] + 1) * side) if inside else at[2]
        for row in range(at[2], stop):
            if rows + side > out.shape[0]:
                at[2] = row
                return rows
            for column in range(max(first, row) if symmetric else first, last):
                a, b = min(row, column), max(row, column)
                if b >= reach[a]:
                    if column > row:
                        break
                    continue
                cell = base[a] + b - a
                value = cells[cell] if symmetric else cells[2 * cell + (row != a)]
                if value:
                    out[rows, 0], out[rows, 1] = key_of(row, column, shift, bits), value
                    rows += 1
        at[1] += 1
        if at[1] == across or (symmetric and not inside):
            at[0] += 1
            at[1] = at[0] if symmetric else 0
        at[2] = at[0] * side
    return rows


@jit
def sort_rows(rows: Keys, other: Keys) -> bool:
    """`sort` for (key, sum) rows [m,2], by the bits in which the keys differ."""
    least, most = rows[0, 0], rows[0, 0]
    for k in range(rows.shape[0]):
        least, most = min(least, rows[k, 0]), max(most, rows[k, 0])
    ends = np.empty(1 << _DIGIT, np.int64)
    mask = np.uint64((1 << _DIGIT) - 1)
    swapped, by = False, np.uint64(0)
    while (most - least) >> by:
        source, target = (other, rows) if swapped else (rows, other)
        ends[:] = 0
        for k in range(source.shape[0]):
            ends[((source[k, 0] - least) >> by) & mask] += 1
        place = 0
        for digit in range(ends.shape[0]):
            count = ends[digit]
            ends[digit] = place
            place += count
        for k in range(source.shape[0]):
            digit = ((source[k, 0] - least) >> by) & mask
            target[ends[digit], 0], target[ends[digit], 1] = source[k, 0], source[k, 1]
            ends[digit] += 1
        swapped = not swapped
        by += np.uint64(_DIGIT)
        if by >= np.uint64(64):
            break
    return swapped


@jit
def finish(rows: Keys, shift: Any, bits: Any, across: int, threshold: Any, sizes: Any, places: Any, counts: Any,
           held: Any, held_counts: Any) -> Any:
    """Sorted (key, sum) rows with equal keys added up, as entries: `places` (row inside the tile · 2¹⁶ + column inside it),
    `counts`; `sizes` [tiles] grows. Pairs whose hash falls below `threshold` go to `held` [h,2] (row, column) and
    `held_counts` instead. Answers (entries, held out)."""
    n, entries, out = 0, 0, 0
    mask = (np.uint64(1) << shift) - np.uint64(1)
    columns = (np.uint64(1) << bits) - np.uint64(1)
    while n < rows.shape[0]:
        key, total = rows[n, 0], np.uint64(0)
        while n < rows.shape[0] and rows[n, 0] == key:
            total += rows[n, 1]
            n += 1
        row, column, tile = (key >> shift) & mask, key & mask, key >> (shift + shift)
        count = np.float32(np.float64(total) / ONE)
        first, second = ((tile >> bits) << shift) | row, ((tile & columns) << shift) | column
        if mixed(((first << _HALF) | second) + np.uint64(1)) < threshold:
            held[out, 0], held[out, 1] = first, second
            held_counts[out] = count
            out += 1
        else:
            places[entries] = np.uint32((row << np.uint64(16)) | column)
            counts[entries] = count
            sizes[np.int64(tile >> bits) * across + np.int64(tile & columns)] += 1
            entries += 1
    return entries, out
