"""The fast method: blocks of centres that share their negatives, as small dense products (see `kernel` for the legend).

A block is B = 16 consecutive words of the sub-sampled stream. Its K negatives are drawn once; each counts
negatives / K for each of a centre's pairs, so the expected gradient is that of `negatives` draws a pair (the idea of
shared negatives: Ji et al. 2016, arXiv 1604.04661). A negative that equals the context word of a pair counts 0 for
that pair. All updates of a block are computed from the values before it. Gathering rows into padded local arrays
makes every inner loop a vector loop without remainder.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.layers.kernels import jit
from foretext.models.word2vec import tiles
from foretext.models.word2vec.kernel import Doubles, Table, Words, negative
from foretext.types import Bits

CENTRES = 16
"""B: centres a block. More share more loads, and see vectors that are up to so many updates old."""
_REPEATS = 2
"""A block ends before a word is its centre more often, and is shorter where one word was drawn as negative more often:
the updates of too many copies of one row, summed, overshoot each other without end on text like a column of zeros."""
NOTHING = np.zeros(0, np.bool_)
"""No row stands still."""
_FIRST = np.int64(0)
"""A plain 0: a literal one would have every function that takes it compiled twice."""
_LIMIT = np.float32(tiles.LIMIT)
_BIT = np.uint64(1)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


@jit
def squash(scores: Table, top: int, bottom: int, columns: int, sign: Any, hidden: Doubles) -> bool:
    """Replace the first `columns` scores s (a multiple of 8) of the rows top…bottom − 1 by σ(s), s clamped to ±10 (σ is
    within 5e-5 of 0 or 1 there; word2vec.c: ±6). `hidden` [bottom − top]: what clamping takes away from
    Σ −log σ(−sign·s), so that the loss stays exact. Answers whether all scores were finite."""
    whole = _ZERO
    for r in range(top, bottom):
        lost = _ZERO
        for c in range(0, columns, 8):
            lost += tiles.squash(scores, r, c, sign)
        hidden[r - top] = lost
        whole += lost * _ZERO
    return bool(whole == _ZERO)


@jit
def gather(table: Table, words: Words, start: int, count: int, rows: Table, row: int) -> None:
    """rows[row + i] = table[words[start + i]] for i < count."""
    for i in range(count):
        word = words[start + i]
        for d in range(table.shape[1]):
            rows[row + i, d] = table[word, d]


@jit
def scatter(table: Table, words: Words, start: int, count: int, rows: Table, row: int) -> None:
    """table[words[start + i]] += rows[row + i]; repeated words add up."""
    for i in range(count):
        word = words[start + i]
        for d in range(table.shape[1]):
            table[word, d] += rows[row + i, d]


@jit
def scatter_but(table: Table, words: Words, start: int, count: int, rows: Table, row: int, still: Bits) -> None:
    """`scatter`, but words that stand still [V] are passed over; [0]: none does."""
    if still.shape[0] == 0:
        scatter(table, words, start, count, rows, row)
        return
    for i in range(count):
        if not still[words[start + i]]:
            scatter(table, words, start + i, 1, rows, row + i)


@jit
def reach(low: Words, high: Words, p: int, m: int) -> Any:
    """The places [begin, end) that the windows of the centres p … p + m − 1 cover together."""
    begin, end = np.int64(low[p]), np.int64(high[p])
    for i in range(1, m):
        begin, end = min(begin, np.int64(low[p + i])), max(end, np.int64(high[p + i]))
    return begin, end


@jit
def dot(x: Table, i: int, y: Table, k: int) -> Any:
    """x[i] · y[k]."""
    score = _ZERO
    for d in range(x.shape[1]):
        score += x[i, d] * y[k, d]
    return score


@jit
def prefetch_rows(table: Table, words: Words, start: int, count: int) -> None:
    """Ask for the rows of words[start : start + count], which are needed soon, without waiting for them."""
    for i in range(count):
        tiles.prefetch(table, np.int64(words[start + i]))


def scratch(width: int, window: int, shared: int) -> tuple[Any, ...]:
    """Working memory of one thread: centres x with their changes, negatives y, contexts z; steps of negatives and of
    contexts, each with its transpose; the negatives of this block and of the next; what clamping hid; for each context
    the first centre that has it and the one after the last."""
    lanes = tiles.padded(width)
    around, band = CENTRES + 2 * window + 4, tiles.padded(2 * window + 4)
    shapes = [
        (2, CENTRES, lanes), (shared, lanes), (around, lanes), (CENTRES, shared), (shared, CENTRES), (CENTRES, band),
        (around, CENTRES),
    ]  # fmt: skip
    arrays = [tiles.rows(*shape) for shape in shapes]
    return *arrays, np.zeros((2, shared), np.int32), np.zeros(CENTRES, np.float64), np.zeros((2, around), np.int32)


@jit
def block_size(words: Words, p: int, n: int, drawn: Words) -> int:
    """How many words from p on make the next block."""
    most = 1
    for k in range(drawn.shape[0]):
        copies = 0
        for other in range(drawn.shape[0]):
            copies += drawn[other] == drawn[k]
        most = max(most, copies)
    size = min(CENTRES, n - p, max(1, _REPEATS * CENTRES // most))
    for m in range(1, size):
        copies = 0
        for i in range(m):
            copies += words[p + i] == words[p + m]
        if copies >= _REPEATS:
            return m
    return size


@jit
def _positives(x: Table, z: Table, band: Table, across: Table, sides: Any, low: Words, high: Words, p: int, m: int,
               window: int, rate: Any, hidden: Doubles) -> Any:
    """Scores and steps of the block's pairs. `band` [B,·]: column c of centre i is the word at p + i − window + c, so
    row i + c of `z`; it ends as rate·(1 − σ), 0 where there is no pair; `across` is the same by (row of z, i), and
    `sides` [2,·] holds for each row of z the first centre that pairs with it and the one after the last.
    Answers (summed loss, pairs, finite)."""
    for r in range(across.shape[0]):
        sides[0, r], sides[1, r] = m, 0
    for i in range(m):
        first, stop = low[p + i] - (p + i - window), high[p + i] - (p + i - window)
        band[i, :] = _ZERO
        for c in range(first, stop, 4):
            tiles.dots1(x, i, z, i + c, band, c)
        for c in range(stop, stop + 3):  # what the last four took along
            band[i, c] = _ZERO
        band[i, window] = _ZERO
    finite = squash(band, _FIRST, m, band.shape[1], -_ONE, hidden)
    loss, pairs, whole = 0.0, 0, 1.0
    across[:] = _ZERO
    for i in range(m):
        loss += hidden[i]
        first, stop = low[p + i] - (p + i - window), high[p + i] - (p + i - window)
        band[i, window] = _ONE
        for c in range(first, stop):
            whole *= band[i, c]
            band[i, c] = across[i + c, i] = rate * (_ONE - band[i, c])
            sides[0, i + c] = min(sides[0, i + c], i)
            sides[1, i + c] = i + 1
            if whole < 1e-200:
                loss -= math.log(whole)
                whole = 1.0
        pairs += stop - first - 1
    return loss - math.log(whole), pairs, finite


@jit
def _clashes(x: Table, y: Table, dense: Table, drawn: Words, words: Words, low: Words, high: Words, p: int, m: int,
             begin: int, end: int, ratio: Any, rate: Any) -> float:
    """Take out of the steps `dense` [B,K] every pair whose context word was drawn as the negative; answers the loss to
    take out. [begin, end): the contexts' places."""
    mask = np.uint64(0)  # one bit for 64 words: most contexts are seen at once to be none of the drawn
    for k in range(drawn.shape[0]):
        mask |= _BIT << np.uint64(drawn[k] & 63)
    loss = 0.0
    for j in range(begin, end):
        if (mask >> np.uint64(words[j] & 63)) & _BIT == 0:
            continue
        for k in range(drawn.shape[0]):
            if drawn[k] == words[j]:
                for i in range(m):
                    if low[p + i] <= j < high[p + i] and j != p + i:
                        score = np.float64(dot(x, i, y, k))
                        odds = np.float32(1.0 / (1.0 + math.exp(-min(max(score, -10.0), 10.0))))
                        dense[i, k] = min(_ZERO, dense[i, k] + rate * ratio * odds)
                        loss += ratio * (max(0.0, score) + math.log1p(math.exp(-abs(score))))
    return loss


@jit
def _negatives(x: Table, y: Table, dense: Table, across: Table, drawn: Words, words: Words, low: Words, high: Words,
               p: int, m: int, begin: int, end: int, ratio: Any, rate: Any, hidden: Doubles) -> Any:
    """Scores and steps of the shared negatives: `dense` [B,K] ends as −rate·weight·σ, `across` is its transpose.
    Answers (summed loss, finite)."""
    for i in range(0, CENTRES, 4):
        for k in range(0, dense.shape[1], 4):
            tiles.dots(x, i, y, k, dense, k)
    finite = squash(dense, _FIRST, CENTRES, dense.shape[1], _ONE, hidden)
    loss = 0.0
    for i in range(CENTRES):
        share = ratio * np.float32(high[p + i] - low[p + i] - 1) if i < m else _ZERO
        if i < m:
            whole = 1.0
            for c in range(0, dense.shape[1], 8):
                whole *= tiles.product(dense, i, c, True)
            loss += share * (hidden[i] - math.log(whole))
        factor = -rate * share
        for c in range(0, dense.shape[1], 8):
            for e in range(8):
                dense[i, c + e] *= factor
    loss -= _clashes(x, y, dense, drawn, words, low, high, p, m, begin, end, ratio, rate)
    for i in range(0, CENTRES, 8):
        for k in range(0, dense.shape[1], 8):
            tiles.transpose8(dense, i, k, across)
    return loss, finite


@jit
def _changes(xs: Any, y: Table, z: Table, dense: Table, dense_across: Table, band: Table, band_across: Table,
             sides: Any, low: Words, high: Words, p: int, m: int, window: int, top: int, bottom: int) -> None:
    """The block's changes from the steps: dx = dense·y + band·z, and then, in place of y and z, dy = denseᵀ·x and
    dz = bandᵀ·x: so everything stays in the nearest cache."""
    x, dx = xs[0], xs[1]
    for i in range(0, CENTRES, 8):
        tiles.set_rows8_across(dx, i, y, 0, dense_across, 0, i, dense.shape[1])
    for i in range(m):
        first, stop = low[p + i] - (p + i - window), high[p + i] - (p + i - window)
        tiles.add_rows(dx, i, z, i + first, band, i, first, stop - first)
    for k in range(0, dense.shape[1], 8):
        tiles.set_rows8_across(y, k, x, 0, dense, 0, k, CENTRES)
    for r in range(top, bottom):
        first = np.int64(sides[0, r])
        tiles.set_row(z, r, x, first, band_across, r, first, sides[1, r] - first)


@jit
def _train(inward: Table, outward: Table, centres: Words, words: Words, low: Words, high: Words, start: int, stop: int,
           first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int, shared: int, window: int,
           state: NDArray[np.uint64], memory: Any, still: Bits) -> Any:
    xs, y, z, dense, dense_across, band, band_across, draws, hidden, sides = memory
    ratio = np.float32(negatives) / np.float32(shared)
    loss, pairs, turn = 0.0, 0, 0
    p = start
    for k in range(shared):
        draws[0, k] = negative(accept, other, state)
    while p < stop:
        drawn, later = draws[turn], draws[1 - turn]
        turn = 1 - turn
        m = block_size(centres, p, stop, drawn)
        # The rows of the next block are on their way while this one is computed.
        for k in range(shared):
            later[k] = negative(accept, other, state)
        prefetch_rows(outward, later, _FIRST, shared)
        prefetch_rows(inward, centres, p + m, min(CENTRES, stop - p - m))
        prefetch_rows(outward, words, p + m + window, min(CENTRES, stop - p - m - window))
        rate = np.float32(first_rate + (last_rate - first_rate) * ((p - start) / (stop - start)))
        begin, end = reach(low, high, p, m)
        top, bottom = begin - p + window, end - p + window
        gather(inward, centres, p, m, xs[0], _FIRST)
        gather(outward, words, begin, end - begin, z, top)
        gather(outward, drawn, _FIRST, shared, y, _FIRST)
        gained, count, fine = _positives(xs[0], z, band, band_across, sides, low, high, p, m, window, rate, hidden)
        spent, also = _negatives(xs[0], y, dense, dense_across, drawn, words, low, high, p, m, begin, end, ratio, rate, hidden)
        if not (fine and also):
            return loss, pairs, False
        loss += gained + spent
        pairs += count
        _changes(xs, y, z, dense, dense_across, band, band_across, sides, low, high, p, m, window, top, bottom)
        scatter_but(inward, centres, p, m, xs[1], _FIRST, still)
        scatter(outward, words, begin, end - begin, z, top)
        scatter(outward, drawn, _FIRST, shared, y, _FIRST)
        p += m
    return loss, pairs, True


@jit
def train_centres(inward: Table, outward: Table, centres: Words, words: Words, low: Words, high: Words, start: int,
                  stop: int, first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int,
                  shared: int, window: int, state: NDArray[np.uint64], memory: Any, still: Bits) -> Any:
    """`train_blocks` for the centres start…stop alone, whose rows of `inward` are `centres` [n] while contexts and
    negatives are rows of `outward`; the rate falls over these centres."""
    return _train(
        inward, outward, centres, words, low, high, np.int64(start), np.int64(stop), first_rate, last_rate, accept, other,
        negatives, shared, window, state, memory, still,
    )


@jit
def train_blocks(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                 last_rate: float, accept: Table, other: Words, negatives: int, shared: int, window: int,
                 state: NDArray[np.uint64], memory: Any, still: Any) -> Any:
    """Train on a planned shard, block by block; arguments and answer as `kernel.train_pairs`. `shared`: K, a multiple
    of 8. `window`: the widest reach in the plan. `memory`: of `scratch`."""
    return _train(
        inward, outward, words, words, low, high, _FIRST, np.int64(n), first_rate, last_rate, accept, other, negatives,
        shared, window, state, memory, still,
    )
