"""The fast method: blocks of centres that share their negatives, as small dense products (see `kernel` for the legend).

A block is B = 16 consecutive words of the sub-sampled stream. It and the blocks after it share K negatives; each counts
negatives / K for each of a centre's pairs, so the expected gradient is that of `negatives` draws a pair (the idea of
shared negatives: Ji et al. 2016, arXiv 1604.04661). A negative that equals the context word of a pair counts 0 for
that pair. All updates of a block are computed from the values before it.

Scores and steps lie with a centre a lane: all that one told word does to the block is one vector. The rows of told
words, which are most of what a block touches, are read and changed where they are: a copy would push them out of the
nearest cache. Only the centres' rows are copied, as they are and turned.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec import lanes, tiles
from foretext.models.word2vec.kernel import Doubles, Table, Words, negative
from foretext.models.word2vec.registers import LANES, padded, zero_rows
from foretext.types import Bits

CENTRES = 16
"""B: centres a block. More share more loads, and see vectors that are up to so many updates old."""
_SHARING, _MOVED = 8, 0.2
"""Blocks in a row share their negatives: 8 of them, or 0.2 / rate where that is less. Rows that have just been changed are in
the nearest cache, and fetching others is what costs. But vectors grow without end where a row is pushed too far by the
same centres: at a rate of 0.1 four blocks do that, two do not (docs/LOG.md)."""
_REPEATS = 2
"""A block ends before a word is its centre more often, and is shorter where one word was drawn as negative more often:
the updates of too many copies of one row, summed, overshoot each other without end on text like a column of zeros."""
NOTHING = np.zeros(0, np.bool_)
"""No row stands still."""
_FIRST = np.int64(0)
"""A plain 0: a literal one would have every function that takes it compiled twice."""
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)


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
def sharing(rate: float) -> int:
    """How many blocks in a row share their negatives."""
    return max(1, min(_SHARING, int(_MOVED / rate + 1e-6)))


@jit
def reach(low: Words, high: Words, p: int, m: int) -> Any:
    """The places [begin, end) that the windows of the centres p … p + m − 1 cover together."""
    begin, end = np.int64(low[p]), np.int64(high[p])
    for i in range(1, m):
        begin, end = min(begin, np.int64(low[p + i])), max(end, np.int64(high[p + i]))
    return begin, end


@jit
def dot(x: Table, i: int, y: Table, k: int) -> Any:
    """x[i] · y[k]; what x has beyond y's width is left out."""
    score = _ZERO
    for d in range(y.shape[1]):
        score += x[i, d] * y[k, d]
    return score


def scratch(width: int, window: int, shared: int) -> tuple[Any, ...]:
    """Working memory of one thread: centres x, x across, their changes; scores and then steps, a told word a row: the K
    negatives, then the contexts; by lane: factors of negatives, odds, what clamping hid; and in float64 the odds of
    contexts and of negatives; the told words, and which lanes have each; the block's words; windows by lane and
    their pairs; the negatives."""
    wide, told = padded(width), shared + padded(CENTRES + 2 * window)
    arrays = [zero_rows(*shape) for shape in ((CENTRES, wide), (wide, CENTRES), (CENTRES, wide), (told, CENTRES), (3, CENTRES))]
    numbers = [np.zeros(told, np.int32), np.zeros(told, np.int64), np.zeros(CENTRES, np.int32), np.zeros((3, CENTRES), np.int32)]
    return *arrays, np.ones((2, CENTRES)), *numbers, draws_scratch(shared)[0]


def draws_scratch(shared: int) -> Words:
    """Room for the negatives of this block and of the next [2,≥K], whole vectors; what is too much is no word."""
    return np.full((2, padded(shared)), -1, np.int32)


@jit
def block_size(words: Words, p: int, n: int, drawn: Words, shared: int, lane: Words) -> int:
    """How many words from p on make the next block. `drawn` [≥K]: its K = `shared` negatives; `lane` [B] becomes the
    block's words, and what is no word after them."""
    most = 1
    for k in range(shared):
        copies = 0
        for c in range(0, shared, LANES):
            bits = lanes.equal(drawn, c, drawn[k])
            while bits:
                bits &= bits - 1
                copies += 1
        most = max(most, copies)
    size = min(CENTRES, n - p, max(1, _REPEATS * CENTRES // most))
    for i in range(CENTRES):
        lane[i] = words[p + i] if i < size else -1
    for m in range(_REPEATS, size):
        bits = lanes.equal(lane, _FIRST, lane[m]) & ((1 << m) - 1)
        for _ in range(_REPEATS - 1):
            bits &= bits - 1
        if bits:
            for i in range(m, size):
                lane[i] = -1
            return m
    return size


@jit
def _told(rows: Words, words: Words, begin: int, end: int, shared: int) -> int:
    """The contexts [begin, end) as told words after the negatives, the last one again up to whole tiles; answers how
    many there are with those."""
    count = end - begin
    whole = -(-count // 8) * 8
    for r in range(whole):
        rows[shared + r] = words[begin + min(r, count - 1)]
    return shared + whole


@jit
def fold(odds: Table, whole: Doubles) -> None:
    """whole *= odds, and the odds are 1 again: eight factors of at least 4.5e-5 are all that a float32 holds."""
    for i in range(CENTRES):
        whole[i] *= odds[i]
        odds[i] = _ONE


@jit
def logs(whole: Doubles) -> float:
    """Σ log whole, which is 1 again."""
    total, product = 0.0, 1.0
    for i in range(CENTRES):
        product *= whole[i]
        whole[i] = 1.0
        if product < 1e-150:
            total += math.log(product)
            product = 1.0
    return total + math.log(product)


@jit
def settled(odds: Table, whole: Doubles) -> Any:
    """The loss that the lanes' `odds` [2,B] and `whole` [B] hold, which are then as at the start."""
    fold(odds[0], whole)
    loss = -logs(whole)
    for i in range(CENTRES):
        loss += odds[1, i]
        odds[1, i] = _ZERO
    return loss


@jit
def _pull(scores: Table, having: Any, low: Words, high: Words, begin: int, end: int, p: int, shared: int, rate: Any,
          odds: Table, whole: Doubles) -> Any:
    """Steps of the pairs, rate·(1 − σ), in place of their scores; `having`: which lanes each context is in. Answers
    (summed loss, not finite where a score is not; pairs). `odds` [2,B]: of the lanes, and what clamping hid."""
    loss = 0.0
    for r in range(end - begin):
        j = begin + r
        having[shared + r] = lanes.pull(scores, shared + r, j, low, high, j - p, rate, odds[0], odds[1])
        if r % 8 == 7:
            fold(odds[0], whole)
            if r % 32 == 31:
                loss -= logs(whole)
    fold(odds[0], whole)
    loss -= logs(whole)
    pairs = 0
    for i in range(CENTRES):
        pairs += max(0, high[i] - low[i] - 1)
        loss += odds[1, i]
        odds[1, i] = _ZERO
    return loss, pairs


@jit
def push(scores: Table, counts: Words, shared: int, ratio: Any, rate: Any, factors: Table, odds: Table,
         whole: Doubles) -> Any:
    """Steps of the negatives, −rate·ratio·counts·σ, in place of their scores; `counts` [B]: how many pairs of a lane see
    them. Answers the summed loss, not finite where a score is not."""
    for i in range(CENTRES):
        factors[i] = -rate * ratio * np.float32(counts[i])
    for k in range(shared):
        lanes.push(scores, k, factors, odds[0], odds[1])
        if k % 8 == 7:
            fold(odds[0], whole)
    loss = 0.0
    for i in range(CENTRES):
        share = ratio * counts[i]
        loss += share * (odds[1, i] - math.log(whole[i])) if share > 0 else odds[1, i] * 0.0
        odds[1, i] = _ZERO
        whole[i] = 1.0
    return loss


@jit
def _clashes(x: Table, outward: Table, scores: Table, rows: Words, drawn: Words, having: Any, count: int, shared: int,
             ratio: Any, rate: Any) -> float:
    """Take out of the steps of negatives every pair whose context word was drawn as the negative; answers the loss to
    take out."""
    loss = 0.0
    for r in range(shared, shared + count):
        for c in range(0, shared, LANES):
            bits = lanes.equal(drawn, c, rows[r])
            while bits:
                k = c + lanes.span(bits)[0]
                bits &= bits - 1
                pairs = having[r]
                while pairs:
                    i = lanes.span(pairs)[0]
                    pairs &= pairs - 1
                    score = dot(x, i, outward, rows[r])
                    odds = _ONE / (_ONE + math.exp(-min(max(score, np.float32(-10.0)), np.float32(10.0))))
                    scores[k, i] = min(_ZERO, scores[k, i] + rate * ratio * odds)
                    loss += ratio * (max(_ZERO, score) + math.log1p(math.exp(-abs(score))))
    return loss


@jit
def _change(x: Table, dx: Table, told: Any, steps: Table, having: Any, low: Words, high: Words, begin: int, count: int,
            m: int, shared: int) -> None:
    """dx from the told words as they are; then these change, by the centres as they were."""
    for i in range(0, CENTRES, 8):
        tiles.set_rows8_across(dx, i, told, 0, steps, 0, i, shared)
    for i in range(m):
        first = shared + low[i] - begin
        tiles.add_rows_across(dx, i, told, first, steps, first, i, high[i] - low[i])
    for k in range(0, shared, 8):
        tiles.add_rows8_late(told, k, x, 0, steps, k, 0, CENTRES)
    for r in range(shared, shared + count):
        if having[r]:
            first, stop = lanes.span(having[r])
            tiles.add_rows(told, r, x, first, steps, r, first, stop - first)


@jit
def _train(inward: Table, outward: Table, centres: Words, words: Words, low: Words, high: Words, start: int, stop: int,
           first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int, shared: int, fresh: bool,
           state: NDArray[np.uint64], memory: Any, still: Bits) -> Any:
    x, xt, dx, steps, by_lane, whole, rows, having, lane, windows, drawn = memory
    told = (outward, rows)
    ratio = np.float32(negatives) / np.float32(shared)
    loss, pairs = 0.0, 0
    p, left = start, 0
    by_lane[1] = _ONE
    by_lane[2] = _ZERO
    whole[:] = 1.0
    while p < stop:
        if left == 0:
            left = 1 if fresh else sharing(first_rate)
            for k in range(shared):
                drawn[k] = rows[k] = negative(accept, other, state)
        m = block_size(centres, p, stop, drawn, shared, lane)
        left -= 1
        rate = np.float32(first_rate + (last_rate - first_rate) * ((p - start) / (stop - start)))
        begin, end = reach(low, high, p, m)
        for i in range(CENTRES):
            windows[0, i], windows[1, i] = (low[p + i], high[p + i]) if i < m else (0, 0)
            windows[2, i] = max(0, windows[1, i] - windows[0, i] - 1)
        total = _told(rows, words, begin, end, shared)
        gather(inward, centres, p, m, x, _FIRST)
        for d in range(0, x.shape[1], LANES):
            tiles.across16(x, d, xt)
        for r in range(0, total, 8):
            tiles.dots_across(steps, r, told, r, xt)
        gained, count = _pull(steps, having, windows[0], windows[1], begin, end, p, shared, rate, by_lane[1:], whole[0])
        spent = push(steps, windows[2], shared, ratio, rate, by_lane[0], by_lane[1:], whole[1])
        if not abs(gained + spent) < math.inf:  # math.isfinite is always true where the compiler may reorder
            return loss, pairs, False
        spent -= _clashes(x, outward, steps, rows, drawn, having, end - begin, shared, ratio, rate)
        loss += gained + spent
        pairs += count
        _change(x, dx, told, steps, having, windows[0], windows[1], begin, end - begin, m, shared)
        scatter_but(inward, centres, p, m, dx, _FIRST, still)
        p += m
    return loss, pairs, True


@jit
def train_centres(inward: Table, outward: Table, centres: Words, words: Words, low: Words, high: Words, start: int,
                  stop: int, first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int,
                  shared: int, state: NDArray[np.uint64], memory: Any, still: Bits) -> Any:
    """`train_blocks` for the centres start…stop alone, whose rows of `inward` are `centres` [n] while contexts and
    negatives, new ones for each block, are rows of `outward`; the rate falls over these centres."""
    return _train(
        inward, outward, centres, words, low, high, np.int64(start), np.int64(stop), first_rate, last_rate, accept, other,
        negatives, shared, True, state, memory, still,
    )


@jit
def train_blocks(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                 last_rate: float, accept: Table, other: Words, negatives: int, shared: int, state: NDArray[np.uint64],
                 memory: Any, still: Any) -> Any:
    """Train on a planned shard, block by block; arguments and answer as `kernel.train_pairs`. `shared`: K, a multiple
    of 8. `memory`: of `scratch`, for windows no wider than there."""
    return _train(
        inward, outward, words, words, low, high, _FIRST, np.int64(n), first_rate, last_rate, accept, other, negatives,
        shared, False, state, memory, still,
    )
