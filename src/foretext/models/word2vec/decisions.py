"""The fast methods' way down the tree of hierarchical softmax, and skip-gram's blocks that take it.

A vector meets the nodes on the way to its word, and all move at once, as in `exact`: vectors that shared a path's values
would cost analogies, since the nodes near the root are on every path. What is saved is fetching: a path is fetched once
for all the words around a centre, and given back when they are done, so that threads seldom write the same nodes; the
words around 16 centres are fetched once, move in the nearest cache, so that the next centres see them as they are, and
are given back when the block is done.
"""

import math
from typing import Any

import numpy as np

from foretext.kernels import jit
from foretext.models.word2vec import lanes, picks
from foretext.models.word2vec.blocks import CENTRES, block_size, fold, gather, logs, reach, settled
from foretext.models.word2vec.kernel import Doubles, Table, Words
from foretext.models.word2vec.registers import LANES, padded, zero_rows
from foretext.types import Bits, Ints

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_FIRST = np.int64(0)
NO_PLACE = -2 * CENTRES
"""The `own` of a walk whose centres are none of the vectors."""


@jit
def walk(x: Table, dx: Table, top: Words, bottom: Words, own: int, lane: Words, m: int, path: Any, first: Ints, nodes: Words,
         codes: Table, rate: Any, steps: Table, by_lane: Table, whole: Doubles, still: Bits, before: Table, own_path: Any) -> Any:
    """For each word lane[i], i < m, the vectors x[r] down the tree, top[i] ≤ r < bottom[i] but r = i + own, one after the
    other, a node a lane: dx[r], which may be x[r], gathers its changes, and the nodes move at once: those of a single
    vector where they lie, those of several in `own_path` (two tables), given back after the last. Where a row stands still
    [rows] ([0]: none does), dx[r] is before[r] again. Answers the loss that is no longer in `by_lane` [2,B] and `whole`,
    or NaN where a score is not finite; the nodes of that path and of those after it have then not moved.

    The words are gone through in here, not by the caller: a call counts references to every array, as long as a path."""
    outward, rows = path
    t, fetched = own_path
    frozen = still.shape[0] > 0
    loss, due = 0.0, 0
    for i in range(m):
        start = first[lane[i]]
        count = first[lane[i] + 1] - start if top[i] < bottom[i] else 0
        several = bottom[i] - top[i] > 1
        for c in range(-(-count // 8) * 8):
            rows[c] = nodes[start + min(c, count - 1)]
        if several:
            for c in range(count):
                node = rows[c]
                for d in range(outward.shape[1]):
                    t[c, d] = outward[node, d]
                for d in range(outward.shape[1]):
                    fetched[c, d] = t[c, d]
        for r in range(top[i], bottom[i] if count else 0):
            if r == i + own:
                continue
            for c in range(0, count, 8):
                if several:
                    picks.dots8(x, r, t, c, steps, _FIRST, c)
                else:
                    picks.dots8(x, r, path, c, steps, _FIRST, c)
            for c in range(0, count, LANES):
                if lanes.decide(steps, _FIRST, c, codes, start + c, count - c, rate, by_lane[0], by_lane[1]):
                    return math.nan
                due += 1
                if due % 8 == 0:
                    fold(by_lane[0], whole)
                    if due % 64 == 0:
                        loss -= logs(whole)
            if several:
                picks.meet(x, dx, r, t, steps, _FIRST, count)
            else:
                picks.meet(x, dx, r, path, steps, _FIRST, count)
            if frozen and still[r]:
                dx[r] = before[r]
        if several:
            for c in range(count):
                node = rows[c]
                for d in range(outward.shape[1]):
                    outward[node, d] += t[c, d] - fetched[c, d]
    return loss


def scratch(width: int, window: int, deepest: int) -> tuple[Any, ...]:
    """Working memory of one thread: the words around as they are and as they were, and which stand still; scores and
    then steps at a path of at most `deepest` nodes; by lane: odds, what clamping hid; the path as it is and as it was; in
    float64 the odds; the nodes of a path; no negatives; the block's words, and their windows."""
    wide, around, path = padded(width), CENTRES + 2 * window, padded(max(1, deepest))
    tables = [zero_rows(*shape) for shape in ((around, wide), (around, wide), (1, path), (2, CENTRES), (2, path, wide))]
    numbers = [np.zeros(shape, np.int32) for shape in (path, 0, CENTRES, (2, CENTRES))]
    return *tables, np.ones(CENTRES), np.zeros(around, np.bool_), *numbers


@jit
def _fetch(table: Table, words: Words, begin: int, end: int, x: Table, before: Table, row: int, still: Bits, standing: Bits) -> None:
    """The rows of words[begin : end] to x[row:] and before[row:], and which of them stand still."""
    gather(table, words, begin, end - begin, x, row)
    gather(table, words, begin, end - begin, before, row)
    if still.shape[0]:
        for i in range(end - begin):
            standing[row + i] = still[words[begin + i]]


@jit
def _give_back(table: Table, words: Words, begin: int, end: int, x: Table, before: Table, row: int) -> None:
    """table[words[begin + i]] += x[row + i] − before[row + i]; repeated words add up."""
    for i in range(end - begin):
        word = words[begin + i]
        for d in range(table.shape[1]):
            table[word, d] += x[row + i, d] - before[row + i, d]


@jit
def train_tree(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
               last_rate: float, first: Ints, nodes: Words, codes: Table, window: int, memory: Any, still: Bits) -> Any:
    """Skip-gram with hierarchical softmax, block by block; arguments and answer as `exact.train_tree`; `memory` of
    `scratch`."""
    x, before, steps, by_lane, own_path, whole, standing, rows, none, lane, windows = memory
    path, fetched = (outward, rows), (own_path[0], own_path[1])
    loss, pairs = 0.0, 0
    p = _FIRST
    by_lane[0] = _ONE
    by_lane[1] = _ZERO
    whole[:] = 1.0
    while p < n:
        m = block_size(words, p, n, none, 0, lane)
        rate = np.float32(first_rate + (last_rate - first_rate) * (p / n))
        begin, end = reach(low, high, p, m)
        shift = window - p  # the word at place j is x[j + shift]
        for i in range(m):
            windows[0, i], windows[1, i] = low[p + i] + shift, high[p + i] + shift
            pairs += high[p + i] - low[p + i] - 1
        _fetch(inward, words, begin, end, x, before, begin + shift, still, standing)
        spent = walk(x, x, windows[0], windows[1], window, lane, m, path, first, nodes, codes, rate, steps, by_lane, whole,
                     standing if still.shape[0] else still, before, fetched)
        if math.isnan(spent):
            return loss, pairs, False
        loss += spent + settled(by_lane, whole)
        _give_back(inward, words, begin, end, x, before, begin + shift)
        p += m
    return loss, pairs, True
