"""The fast method of hierarchical softmax: the decisions on one path, for several vectors at once.

A path is gathered once for all the vectors that tell its word: their scores, and both changes, are small dense products
(the rule stands in `exact`). The vectors' own changes wait until the block of centres is done, as in `blocks`.
"""

import math
from typing import Any

import numpy as np

from foretext.kernels import jit
from foretext.models.word2vec import tiles
from foretext.models.word2vec.blocks import (
    CENTRES,
    block_size,
    gather,
    prefetch_rows,
    reach,
    scatter,
    scatter_but,
    squash,
)
from foretext.models.word2vec.kernel import Doubles, Table, Words
from foretext.models.word2vec.registers import padded, zero_rows
from foretext.types import Bits, Ints

_ZERO, _ONE, _TWO = np.float32(0.0), np.float32(1.0), np.float32(2.0)
_FIRST = np.int64(0)


def scratch(width: int, window: int, deepest: int) -> tuple[Any, ...]:
    """Working memory of one thread: contexts with their changes, a path of at most `deepest` nodes, steps of contexts
    at nodes, the codes of a path, what clamping hid, no negatives, the block's words."""
    lanes, around, path = padded(width), CENTRES + 2 * window + 4, padded(max(1, deepest))
    arrays = [zero_rows(*shape) for shape in ((2, around, lanes), (path, lanes), (around, path))]
    return *arrays, np.zeros(path, np.float32), np.zeros(around, np.float64), np.zeros(0, np.int32), np.zeros(CENTRES, np.int32)


@jit
def _steps(scores: Table, top: int, bottom: int, skipped: int, flips: Table, columns: int, rate: Any,
           hidden: Doubles) -> Any:
    """Scores of rows top…bottom − 1 at the nodes of a path become steps: rate · (label − σ). `flips` [columns]: 1 for
    code 0, −1 for code 1, 0 where the path has ended. Answers the loss, or NaN where a score is not finite."""
    for r in range(top, bottom):
        for c in range(0, columns, 8):
            for e in range(8):
                scores[r, c + e] *= flips[c + e]  # from here on the loss is −log σ at every node
        if r == skipped:
            scores[r, :columns] = _ZERO
    if not squash(scores, top, bottom, columns, -_ONE, hidden):
        return math.nan
    loss: Any = 0.0
    whole = 1.0
    for r in range(top, bottom):
        if r == skipped:
            scores[r, :columns] = _ZERO
            continue
        loss += hidden[r - top]
        for c in range(0, columns, 8):
            product: Any = 1.0
            for e in range(8):
                odds, flip = scores[r, c + e], flips[c + e]
                product *= odds if flip != _ZERO else _ONE
                scores[r, c + e] = rate * flip * (_ONE - odds)
            whole *= product
            if whole < 1e-200:  # eight factors of at least 4.5e-5 leave room for more
                loss -= math.log(whole)
                whole = 1.0
    return loss - math.log(whole)


@jit
def _learn_path(x: Table, dx: Table, top: int, bottom: int, skipped: int, outward: Table, nodes: Words,
                codes: Table, start: int, stop: int, rate: Any, t: Table, scores: Table, flips: Table,
                hidden: Doubles) -> Any:
    """The rows top…bottom − 1 of `x`, but `skipped`, at nodes[start : stop]: dx gathers their changes, the nodes move
    at once. `t`, `scores`, `flips`, `hidden`: working memory. Answers the loss, or NaN and then nothing has moved."""
    count = stop - start
    if count == 0:
        return 0.0
    gather(outward, nodes, start, count, t, _FIRST)
    for r in range(top, bottom, 4):
        for k in range(0, count, 4):
            tiles.dots(x, r, t, k, scores, k)
    columns = -(-count // 8) * 8
    flips[count:columns] = _ZERO
    for k in range(count):
        flips[k] = _ONE - _TWO * codes[start + k]
    loss = _steps(scores, top, bottom, skipped, flips, columns, rate, hidden)
    if math.isnan(loss):
        return loss
    for r in range(top, bottom):
        tiles.add_rows(dx, r, t, 0, scores, r, 0, count)
    t[:columns] = _ZERO
    for k in range(0, columns, 8):
        tiles.add_rows8_across(t, k, x, top, scores, top, k, bottom - top)
    scatter(outward, nodes, start, count, t, _FIRST)
    return loss


@jit
def train_tree(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
               last_rate: float, first: Ints, nodes: Words, codes: Table, window: int, memory: Any, still: Bits) -> Any:
    """Skip-gram with hierarchical softmax, block by block; arguments and answer as `exact.train_tree`; `memory` of
    `scratch`."""
    zs, t, scores, flips, hidden, none, lane = memory
    loss, pairs = 0.0, 0
    p = _FIRST
    while p < n:
        m = block_size(words, p, n, none, 0, lane)
        prefetch_rows(inward, words, p + m + window, min(CENTRES, n - p - m - window))
        rate = np.float32(first_rate + (last_rate - first_rate) * (p / n))
        begin, end = reach(low, high, p, m)
        top, bottom = begin - p + window, end - p + window
        gather(inward, words, begin, end - begin, zs[0], top)
        zs[1][top:bottom] = _ZERO
        for i in range(m):
            if i + 1 < m:
                after = words[p + i + 1]
                prefetch_rows(outward, nodes, first[after], first[after + 1] - first[after])
            word = words[p + i]
            spent = _learn_path(zs[0], zs[1], low[p + i] - p + window, high[p + i] - p + window, i + window, outward,
                               nodes, codes, first[word], first[word + 1], rate, t, scores, flips, hidden)
            if math.isnan(spent):
                return loss, pairs, False
            loss += spent
            pairs += high[p + i] - low[p + i] - 1
        scatter_but(inward, words, begin, end - begin, zs[1], top, still)
        p += m
    return loss, pairs, True
