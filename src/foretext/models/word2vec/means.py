"""The fast method of CBOW: blocks of centres, whose means of the words around are one product and share negatives.

As `blocks` does it for skip-gram: B consecutive centres, K negatives that each count negatives / K, all updates of a
block from the values before it. The rule itself, and why the words around get an undivided gradient, stands in `exact`.
With the tree, centres share the gathering of their windows; the paths are learnt one after the other.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec import tiles
from foretext.models.word2vec.blocks import (
    CENTRES,
    block_size,
    dot,
    draws_scratch,
    gather,
    prefetch_rows,
    reach,
    scatter,
    scatter_but,
    squash,
)
from foretext.models.word2vec.decisions import learn_path
from foretext.models.word2vec.kernel import Doubles, Table, Words, negative
from foretext.types import Bits, Ints

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)
_FIRST = np.int64(0)


def scratch(width: int, window: int, shared: int, deepest: int) -> tuple[Any, ...]:
    """Working memory of one thread: contexts z; means h with their changes; targets t, or a path of at most `deepest`
    nodes; negatives y; the share of each context in each mean, and which centres have a context; scores of targets;
    steps of negatives with their transpose; the negatives of this block and of the next; what clamping hid; the codes of a path;
    the block's words."""
    lanes, around, path = tiles.padded(width), CENTRES + 2 * window + 4, tiles.padded(max(CENTRES, deepest))
    shapes = [
        (around, lanes), (2, CENTRES, lanes), (path, lanes), (shared, lanes), (CENTRES, tiles.padded(2 * window + 4)),
        (around, CENTRES), (CENTRES, path), (CENTRES, shared), (shared, CENTRES),
    ]  # fmt: skip
    arrays = [tiles.rows(*shape) for shape in shapes]
    lines = np.zeros(max(CENTRES, path), np.float64), np.zeros(path, np.float32), np.zeros(CENTRES, np.int32)
    return *arrays, draws_scratch(shared), *lines


@jit
def _means(z: Table, h: Table, shares: Table, low: Words, high: Words, p: int, m: int, window: int) -> int:
    """h[i] = the mean of the contexts of centre p + i, 0 where there are none; answers how many centres have some.
    Column c of `shares` is the word at p + i − window + c, as in `blocks`."""
    h[:] = _ZERO
    examples = 0
    for i in range(m):
        first, stop = low[p + i] - (p + i - window), high[p + i] - (p + i - window)
        count = stop - first - 1
        if count == 0:
            continue
        examples += 1
        share = _ONE / np.float32(count)
        for c in range(first, stop):
            shares[i, c] = share
        shares[i, window] = _ZERO
        tiles.add_rows(h, i, z, i + first, shares, i, first, stop - first)
    return examples


@jit
def _hand_out(z: Table, dh: Table, has: Table, low: Words, high: Words, p: int, m: int, window: int, top: int,
              bottom: int) -> None:
    """z[r] = the sum of the changes of the means that row r is in, whole."""
    has[top:bottom] = _ZERO
    for i in range(m):
        for j in range(low[p + i], high[p + i]):
            if j != p + i:
                has[j - p + window, i] = _ONE
    z[top:bottom] = _ZERO
    for r in range(top, bottom):
        begin, end = np.int64(max(0, r - 2 * window)), np.int64(min(m, r + 1))
        tiles.add_rows(z, r, dh, begin, has, r, begin, end - begin)


@jit
def _targets(h: Table, t: Table, dh: Table, low: Words, high: Words, p: int, m: int, rate: Any, scores: Table,
             hidden: Doubles) -> Any:
    """The word in the middle: dh[i] = step · t[i], and t[i] becomes its change, step · h[i]. Answers (loss, finite)."""
    for i in range(m):
        scores[0, i] = dot(h, i, t, i)
    for i in range(m, CENTRES):
        scores[0, i] = _ZERO
    finite = squash(scores, _FIRST, 1, CENTRES, -_ONE, hidden)
    loss, product = hidden[0], 1.0
    for i in range(m):
        step = _ZERO
        if high[p + i] - low[p + i] > 1:
            product *= scores[0, i]
            step = rate * (_ONE - scores[0, i])
        for d in range(h.shape[1]):
            dh[i, d] = step * t[i, d]
            t[i, d] = step * h[i, d]
    return loss - math.log(product), finite


@jit
def _noise(h: Table, y: Table, dh: Table, dense: Table, across: Table, drawn: Words, words: Words, low: Words,
           high: Words, p: int, m: int, ratio: Any, rate: Any, hidden: Doubles) -> Any:
    """The shared negatives: dh += dense·y, and y becomes its change. Answers (loss, finite)."""
    for i in range(0, CENTRES, 4):
        for k in range(0, dense.shape[1], 4):
            tiles.dots(h, i, y, k, dense, k)
    finite = squash(dense, _FIRST, CENTRES, dense.shape[1], _ONE, hidden)
    loss = 0.0
    for i in range(CENTRES):
        counts = i < m and high[p + i] - low[p + i] > 1
        product = 1.0
        for k in range(dense.shape[1]):
            odds = dense[i, k]
            if not counts:
                dense[i, k] = _ZERO
            elif drawn[k] == words[p + i]:
                dense[i, k] = _ZERO
                hidden[i] -= max(0.0, np.float64(dot(h, i, y, k)) - 10.0)
            else:
                product *= _ONE - odds
                dense[i, k] = -rate * ratio * odds
            across[k, i] = dense[i, k]
        if counts:
            loss += ratio * (hidden[i] - math.log(product))
    if not finite:
        return loss, False
    for i in range(0, CENTRES, 8):
        tiles.add_rows8_across(dh, i, y, 0, across, 0, i, dense.shape[1])
    y[:] = _ZERO
    for k in range(0, dense.shape[1], 8):
        tiles.add_rows8_across(y, k, h, 0, dense, 0, k, CENTRES)
    return loss, True


@jit
def train_cbow(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
               last_rate: float, accept: Table, other: Words, negatives: int, shared: int, window: int,
               state: NDArray[np.uint64], memory: Any, still: Bits) -> Any:
    """CBOW with negative sampling; arguments and answer as `blocks.train_blocks`, `memory` of `scratch`."""
    z, hs, t, y, shares, has, scores, dense, across, draws, hidden, _, lane = memory
    ratio = np.float32(negatives) / np.float32(shared)
    loss, examples, turn = 0.0, 0, 0
    p = _FIRST
    for k in range(shared):
        draws[0, k] = negative(accept, other, state)
    while p < n:
        drawn, later = draws[turn], draws[1 - turn]
        turn = 1 - turn
        m = block_size(words, p, n, drawn, shared, lane)
        for k in range(shared):
            later[k] = negative(accept, other, state)
        prefetch_rows(outward, later, _FIRST, shared)
        prefetch_rows(outward, words, p + m, min(CENTRES, n - p - m))
        prefetch_rows(inward, words, p + m + window, min(CENTRES, n - p - m - window))
        rate = np.float32(first_rate + (last_rate - first_rate) * (p / n))
        begin, end = reach(low, high, p, m)
        top, bottom = begin - p + window, end - p + window
        gather(inward, words, begin, end - begin, z, top)
        gather(outward, words, p, m, t, _FIRST)
        gather(outward, drawn, _FIRST, shared, y, _FIRST)
        count = _means(z, hs[0], shares, low, high, p, m, window)
        gained, fine = _targets(hs[0], t, hs[1], low, high, p, m, rate, scores, hidden)
        spent, also = _noise(hs[0], y, hs[1], dense, across, drawn, words, low, high, p, m, ratio, rate, hidden)
        if not (fine and also):
            return loss, examples, False
        loss += gained + spent
        examples += count
        _hand_out(z, hs[1], has, low, high, p, m, window, top, bottom)
        scatter_but(inward, words, begin, end - begin, z, top, still)
        scatter(outward, words, p, m, t, _FIRST)
        scatter(outward, drawn, _FIRST, shared, y, _FIRST)
        p += m
    return loss, examples, True


@jit
def train_cbow_tree(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                    last_rate: float, first: Ints, nodes: Words, codes: Table, window: int, memory: Any,
                    still: Bits) -> Any:
    """CBOW with hierarchical softmax; `first`, `nodes`, `codes`: of `tree.Tree`. `memory`: of `scratch`."""
    z, hs, t, _, shares, has, scores, _, _, draws, hidden, flips, lane = memory
    loss, examples = 0.0, 0
    p = _FIRST
    while p < n:
        m = block_size(words, p, n, draws[0], 0, lane)
        prefetch_rows(inward, words, p + m + window, min(CENTRES, n - p - m - window))
        rate = np.float32(first_rate + (last_rate - first_rate) * (p / n))
        begin, end = reach(low, high, p, m)
        top, bottom = begin - p + window, end - p + window
        gather(inward, words, begin, end - begin, z, top)
        examples += _means(z, hs[0], shares, low, high, p, m, window)
        hs[1][:] = _ZERO
        for i in range(m):
            if high[p + i] - low[p + i] == 1:
                continue
            if i + 1 < m:
                after = words[p + i + 1]
                prefetch_rows(outward, nodes, first[after], first[after + 1] - first[after])
            spent = learn_path(hs[0], hs[1], i, i + 1, -1, outward, nodes, codes, first[words[p + i]],
                               first[words[p + i] + 1], rate, t, scores, flips, hidden)
            if math.isnan(spent):
                return loss, examples, False
            loss += spent
        _hand_out(z, hs[1], has, low, high, p, m, window, top, bottom)
        scatter_but(inward, words, begin, end - begin, z, top, still)
        p += m
    return loss, examples, True
