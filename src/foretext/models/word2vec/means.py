"""The fast method of CBOW: blocks of centres, whose means of the words around share negatives, or walk down the tree.

As `blocks` does it for skip-gram: B consecutive centres, K negatives that each count negatives / K, all updates of a
block from the values before it; a centre a lane, and no row is copied. The rule itself, and why the words around get an
undivided gradient, stands in `exact`. With the tree the nodes of a path move at once, one centre after the other; the
words around wait for the end of the block.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec import lanes, picks, tiles
from foretext.models.word2vec.blocks import (
    CENTRES,
    NOTHING,
    block_size,
    dot,
    draws_scratch,
    push,
    reach,
    settled,
    sharing,
)
from foretext.models.word2vec.decisions import NO_PLACE, walk
from foretext.models.word2vec.kernel import Table, Words, negative
from foretext.models.word2vec.registers import LANES, padded, zero_rows
from foretext.types import Bits, Ints

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_FIRST = np.int64(0)
EQUAL = np.zeros(0, np.float32)
"""The weights of contexts that all count once."""


def scratch(width: int, window: int, shared: int, deepest: int) -> tuple[Any, ...]:
    """Working memory of one thread: means h, h across, their changes; scores and then steps, the K negatives a row and
    then the told words in one, or a path of at most `deepest` nodes a row; by context and lane: whether the mean has the
    context, and its weight; by lane: factors of negatives, odds, what clamping hid; and in float64 the odds of told words
    and of negatives; the told rows; which lanes have each context; the block's words; windows by lane, zeros, and whether
    there are words in them; the negatives."""
    wide, around, path = padded(width), CENTRES + 2 * window, padded(max(1, deepest))
    shapes = [(CENTRES, wide), (wide, CENTRES), (CENTRES, wide), (shared + 1, CENTRES), (1, path), (2, around, CENTRES), (3, CENTRES)]
    numbers = [
        np.zeros(max(shared + CENTRES, path), np.int32), np.zeros(around, np.int64), np.zeros(CENTRES, np.int32),
        np.zeros((4, CENTRES), np.int32),
    ]  # fmt: skip
    return *(zero_rows(*shape) for shape in shapes), np.ones((2, CENTRES)), *numbers, draws_scratch(shared)[0]


@jit
def _means(h: Table, inward: Table, numbers: Words, low: Words, high: Words, p: int, m: int, begin: int, end: int,
           windows: Words, shares: Any, having: Ints, weights: Table) -> int:
    """h[i] = the mean of the contexts of centre p + i, 0 where there are none; answers how many centres have some. The
    context at place j is row numbers[j] of `inward`, and counts as so many `weights` [rows] ([0]: once). `shares` [2,·,B]
    and `having`: of the contexts from `begin` on."""
    examples, weighted = 0, weights.shape[0] > 0
    has, share_of = shares[0], shares[1 if weighted else 0]
    for i in range(CENTRES):
        windows[0, i], windows[1, i] = (low[p + i], high[p + i]) if i < m else (0, 0)
        windows[3, i] = 1 if windows[1, i] - windows[0, i] > 1 else 0
        examples += windows[3, i]
    for r in range(end - begin):
        having[r] = lanes.within(has, r, begin + r, windows[0], windows[1], begin + r - p)
        if weighted:
            for i in range(CENTRES):
                share_of[r, i] = has[r, i] * weights[numbers[begin + r]]
    h[:] = _ZERO
    contexts = (inward, numbers)
    for i in range(m):
        if windows[3, i]:
            first, count = np.int64(windows[0, i]), np.int64(windows[1, i] - windows[0, i])
            tiles.add_rows_across(h, i, contexts, first, share_of, first - begin, i, count)
            total = _ZERO if weighted else np.float32(count - 1)
            if weighted:
                for r in range(first - begin, first - begin + count):
                    total += share_of[r, i]
            share = _ONE / total
            for d in range(h.shape[1]):
                h[i, d] *= share
    return examples


@jit
def _hand_out(dh: Table, inward: Table, numbers: Words, begin: int, end: int, has: Table, having: Ints, still: Bits) -> None:
    """Every context gets the sum of the changes of the means that it is in, whole, but those that stand still."""
    frozen = still.shape[0] > 0
    contexts = (inward, numbers)
    for r in range(end - begin):
        if having[r] and not (frozen and still[numbers[begin + r]]):
            first, stop = lanes.span(having[r])
            tiles.add_rows(contexts, begin + r, dh, first, has, r, first, stop - first)


@jit
def _told(rows: Words, lane: Words, drawn: Words, m: int, shared: int) -> None:
    """The told rows: the negatives, then each lane's own word; the last one again where there is none."""
    for k in range(shared):
        rows[k] = drawn[k]
    for i in range(CENTRES):
        rows[shared + i] = lane[min(i, m - 1)]


@jit
def _clashes(h: Table, outward: Table, steps: Table, lane: Words, drawn: Words, shared: int, counts: Words, ratio: Any) -> Any:
    """No step where the negative is the lane's own word; answers the loss to take out."""
    loss = 0.0
    for k in range(shared):
        bits = lanes.equal(lane, 0, drawn[k])
        while bits:
            i = lanes.span(bits)[0]
            bits &= bits - 1
            steps[k, i] = _ZERO
            if counts[i]:
                score = dot(h, i, outward, drawn[k])
                loss += ratio * (max(_ZERO, score) + math.log1p(math.exp(-abs(score))))
    return loss


@jit
def _change(h: Table, dh: Table, told: Any, steps: Table, m: int, shared: int) -> None:
    """dh from the told words as they are; then these change, by the means."""
    for i in range(0, CENTRES, 8):
        tiles.set_rows8_across(dh, i, told, 0, steps, 0, i, shared)
    for i in range(m):
        tiles.add_rows(dh, i, told, shared + i, steps, shared, i, 1)
    for k in range(0, shared, 8):
        tiles.add_rows8_late(told, k, h, 0, steps, k, 0, CENTRES)
    for i in range(m):
        tiles.add_rows(told, shared + i, h, i, steps, shared, i, 1)


@jit
def _train(inward: Table, outward: Table, numbers: Words, words: Words, low: Words, high: Words, start: int, stop: int,
           first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int, shared: int, fresh: bool,
           state: NDArray[np.uint64], memory: Any, still: Bits, weights: Table) -> Any:
    h, ht, dh, steps, _, shares, by_lane, whole, rows, having, lane, windows, drawn = memory
    told = (outward, rows)
    ratio = np.float32(negatives) / np.float32(shared)
    loss, examples = 0.0, 0
    p, left = start, 0
    by_lane[1] = _ONE
    by_lane[2] = _ZERO
    whole[:] = 1.0
    while p < stop:
        if left == 0:
            left = 1 if fresh else sharing(first_rate)
            for k in range(shared):
                drawn[k] = negative(accept, other, state)
        m = block_size(words, p, stop, drawn, shared, lane)
        left -= 1
        _told(rows, lane, drawn, m, shared)
        rate = np.float32(first_rate + (last_rate - first_rate) * ((p - start) / (stop - start)))
        begin, end = reach(low, high, p, m)
        count = _means(h, inward, numbers, low, high, p, m, begin, end, windows, shares, having, weights)
        for d in range(0, h.shape[1], LANES):
            tiles.across16(h, d, ht)
        for k in range(0, shared, 8):
            tiles.dots_across(steps, k, told, k, ht)
        picks.dots_each(h, told, shared, steps, shared)
        lanes.pull(steps, shared, 0, windows[2], windows[3], -1, rate, by_lane[1], by_lane[2])
        gained = settled(by_lane[1:], whole[0])
        spent = push(steps, windows[3], shared, ratio, rate, by_lane[0], by_lane[1:], whole[1])
        if not abs(gained + spent) < math.inf:  # math.isfinite is always true where the compiler may reorder
            return loss, examples, False
        spent -= _clashes(h, outward, steps, lane, drawn, shared, windows[3], ratio)
        loss += gained + spent
        examples += count
        _change(h, dh, told, steps, m, shared)
        _hand_out(dh, inward, numbers, begin, end, shares[0], having, still)
        p += m
    return loss, examples, True


@jit
def train_cbow(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
               last_rate: float, accept: Table, other: Words, negatives: int, shared: int, state: NDArray[np.uint64],
               memory: Any, still: Bits) -> Any:
    """CBOW with negative sampling; arguments and answer as `blocks.train_blocks`, `memory` of `scratch`."""
    return _train(
        inward, outward, words, words, low, high, _FIRST, np.int64(n), first_rate, last_rate, accept, other, negatives,
        shared, False, state, memory, still, EQUAL,
    )


@jit
def train_weighted(inward: Table, outward: Table, numbers: Words, words: Words, low: Words, high: Words, start: int,
                   stop: int, first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int,
                   shared: int, state: NDArray[np.uint64], memory: Any, still: Bits, weights: Table) -> Any:
    """`train_cbow` for the centres start…stop alone, where the context at place j is row numbers[j] of `inward` and counts
    as so many `weights` [rows] in the mean; words to be told are rows of `outward`, each block draws its own negatives, and
    the rate falls over these centres."""
    return _train(
        inward, outward, numbers, words, low, high, np.int64(start), np.int64(stop), first_rate, last_rate, accept, other,
        negatives, shared, True, state, memory, still, weights,
    )


@jit
def train_cbow_tree(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                    last_rate: float, first: Ints, nodes: Words, codes: Table, memory: Any, still: Bits) -> Any:
    """CBOW with hierarchical softmax; `first`, `nodes`, `codes`: of `tree.Tree`. `memory`: of `scratch`."""
    h, _, dh, _, steps, shares, by_lane, whole, rows, having, lane, windows, drawn = memory
    path = (outward, rows)
    loss, examples = 0.0, 0
    p = _FIRST
    by_lane[1] = _ONE
    by_lane[2] = _ZERO
    whole[:] = 1.0
    while p < n:
        m = block_size(words, p, n, drawn, 0, lane)
        rate = np.float32(first_rate + (last_rate - first_rate) * (p / n))
        begin, end = reach(low, high, p, m)
        examples += _means(h, inward, words, low, high, p, m, begin, end, windows, shares, having, EQUAL)
        for i in range(m):
            windows[0, i], windows[1, i] = i, i + windows[3, i]
        dh[:] = _ZERO
        spent = walk(h, dh, windows[0], windows[1], NO_PLACE, lane, m, path, first, nodes, codes, rate, steps, by_lane[1:],
                     whole[0], NOTHING, dh, (dh, dh))
        if math.isnan(spent):
            return loss, examples, False
        loss += spent + settled(by_lane[1:], whole[0])
        _hand_out(dh, inward, words, begin, end, shares[0], having, still)
        p += m
    return loss, examples, True
