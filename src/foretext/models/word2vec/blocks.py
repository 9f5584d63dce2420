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

from foretext.models.word2vec.kernel import Doubles, Table, Words, inline, jit, negative

CENTRES = 16
"""B: centres a block. More share more loads, and see vectors that are up to so many updates old."""
_REPEATS = 2
"""A block ends before a word is its centre more often, and is shorter where one word was drawn as negative more often:
the updates of too many copies of one row, summed, overshoot each other without end on text like a column of zeros."""
_FIRST = np.int64(0)
"""A plain 0: a literal one would have every function that takes it compiled twice."""
_LANE = 16
"""Local rows are padded with zeros to a multiple of this many floats, so that vector loops have no remainder."""
_LIMIT = np.float32(10.0)
"""Scores are clamped to ±10, where σ is within 5e-5 of 0 or 1 (word2vec.c: ±6); the loss stays exact, see `_excess`."""
_HALF = np.float32(0.5)
_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
# tanh t = t·N(t²)/M(t²): Lambert's continued fraction cut after its ninth quotient; |error of σ| < 3e-7 on ±10.
_N1, _N2, _N3, _N4 = (np.float32(c / 34459425.0) for c in (4729725.0, 135135.0, 990.0, 1.0))
_M1, _M2, _M3, _M4 = (np.float32(c / 34459425.0) for c in (16216200.0, 945945.0, 13860.0, 45.0))


@inline
def _sigmoid(score: Any) -> Any:
    """σ of a clamped score, by a rational tanh that compiles to vector instructions."""
    t = _HALF * score
    u = t * t
    above = _ONE + u * (_N1 + u * (_N2 + u * (_N3 + u * _N4)))
    below = _ONE + u * (_M1 + u * (_M2 + u * (_M3 + u * _M4)))
    return _HALF + _HALF * t * (above / below)


@jit
def _squash(scores: Table, rows: int, sign: Any, hidden: Doubles) -> bool:
    """Replace scores s [rows,C] by σ(s). `hidden` [rows]: what clamping takes away from Σ −log σ(−sign·s). Answers
    whether all scores were finite."""
    whole = _ZERO
    for r in range(rows):
        lost = _ZERO
        for c in range(scores.shape[1]):
            s = scores[r, c]
            lost += max(_ZERO, sign * s - _LIMIT)
            whole += s * _ZERO
            scores[r, c] = _sigmoid(min(max(s, -_LIMIT), _LIMIT))
        hidden[r] = lost
    return bool(whole == _ZERO)


@jit
def _gather(table: Table, words: Words, start: int, count: int, rows: Table, row: int) -> None:
    """rows[row + i] = table[words[start + i]] for i < count."""
    for i in range(count):
        word = words[start + i]
        for d in range(table.shape[1]):
            rows[row + i, d] = table[word, d]


@jit
def _scatter(table: Table, words: Words, start: int, count: int, rows: Table, row: int) -> None:
    """table[words[start + i]] += rows[row + i]; repeated words add up."""
    for i in range(count):
        word = words[start + i]
        for d in range(table.shape[1]):
            table[word, d] += rows[row + i, d]


@jit
def _dot(x: Table, i: int, y: Table, k: int) -> Any:
    """x[i] · y[k]."""
    score = _ZERO
    for d in range(x.shape[1]):
        score += x[i, d] * y[k, d]
    return score


@jit
def _dots(x: Table, i: int, y: Table, k: int, out: Table, column: int) -> None:
    """out[i+a, column+b] = x[i+a] · y[k+b] for a, b < 4: sixteen running sums stay in registers."""
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = _ZERO
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = _ZERO
    for d in range(x.shape[1]):
        x0, x1, x2, x3 = x[i, d], x[i + 1, d], x[i + 2, d], x[i + 3, d]
        y0, y1, y2, y3 = y[k, d], y[k + 1, d], y[k + 2, d], y[k + 3, d]
        s00 += x0 * y0
        s01 += x0 * y1
        s02 += x0 * y2
        s03 += x0 * y3
        s10 += x1 * y0
        s11 += x1 * y1
        s12 += x1 * y2
        s13 += x1 * y3
        s20 += x2 * y0
        s21 += x2 * y1
        s22 += x2 * y2
        s23 += x2 * y3
        s30 += x3 * y0
        s31 += x3 * y1
        s32 += x3 * y2
        s33 += x3 * y3
    out[i, column], out[i, column + 1], out[i, column + 2], out[i, column + 3] = s00, s01, s02, s03
    out[i + 1, column], out[i + 1, column + 1], out[i + 1, column + 2], out[i + 1, column + 3] = s10, s11, s12, s13
    out[i + 2, column], out[i + 2, column + 1], out[i + 2, column + 2], out[i + 2, column + 3] = s20, s21, s22, s23
    out[i + 3, column], out[i + 3, column + 1], out[i + 3, column + 2], out[i + 3, column + 3] = s30, s31, s32, s33


@jit
def _dots1(x: Table, i: int, y: Table, k: int, out: Table, column: int) -> None:
    """out[i, column+b] = x[i] · y[k+b] for b < 4."""
    s0 = s1 = s2 = s3 = _ZERO
    for d in range(x.shape[1]):
        x0 = x[i, d]
        s0 += x0 * y[k, d]
        s1 += x0 * y[k + 1, d]
        s2 += x0 * y[k + 2, d]
        s3 += x0 * y[k + 3, d]
    out[i, column], out[i, column + 1], out[i, column + 2], out[i, column + 3] = s0, s1, s2, s3


@jit
def _add8(out: Table, row: int, y: Table, k: int, a: Table, i: int, c: int) -> None:
    """out[row] += Σ_b a[i, c+b]·y[k+b], b < 8."""
    a0, a1, a2, a3 = a[i, c], a[i, c + 1], a[i, c + 2], a[i, c + 3]
    a4, a5, a6, a7 = a[i, c + 4], a[i, c + 5], a[i, c + 6], a[i, c + 7]
    for d in range(out.shape[1]):
        out[row, d] += (
            a0 * y[k, d] + a1 * y[k + 1, d] + a2 * y[k + 2, d] + a3 * y[k + 3, d]
            + a4 * y[k + 4, d] + a5 * y[k + 5, d] + a6 * y[k + 6, d] + a7 * y[k + 7, d]
        )


@jit
def _add4(out: Table, row: int, y: Table, k: int, a: Table, i: int, c: int) -> None:
    """out[row] += Σ_b a[i, c+b]·y[k+b], b < 4."""
    a0, a1, a2, a3 = a[i, c], a[i, c + 1], a[i, c + 2], a[i, c + 3]
    if a0 == _ZERO and a1 == _ZERO and a2 == _ZERO and a3 == _ZERO:
        return
    for d in range(out.shape[1]):
        out[row, d] += a0 * y[k, d] + a1 * y[k + 1, d] + a2 * y[k + 2, d] + a3 * y[k + 3, d]


def scratch(width: int, window: int, shared: int) -> tuple[Any, ...]:
    """Working memory of one thread: centres x, negatives y and contexts z, each with its changes; scores of negatives
    and of contexts, each with its transpose; weights; drawn negatives; what clamping hid."""
    lanes = -(-width // _LANE) * _LANE
    reach, band = CENTRES + 2 * window + 4, 2 * window + 4
    shapes = [
        (2, CENTRES, lanes), (2, shared, lanes), (2, reach, lanes), (CENTRES, shared), (shared, CENTRES),
        (CENTRES, band), (reach, CENTRES), (CENTRES, shared),
    ]  # fmt: skip
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    return *arrays, np.zeros(shared, np.int32), np.zeros(CENTRES, np.float64)


@jit
def _centres(words: Words, p: int, n: int, drawn: Words) -> int:
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
def _positives(x: Table, z: Table, band: Table, across: Table, low: Words, high: Words, p: int, m: int, window: int,
               rate: Any, hidden: Doubles) -> Any:
    """Scores and steps of the block's pairs. `band` [B,·]: column c of centre i is the word at p + i − window + c, so
    row i + c of `z`; it ends as rate·(1 − σ), 0 where there is no pair; `across` is the same by (row of z, i).
    Answers (summed loss, pairs, finite)."""
    band[:] = _ZERO
    across[:] = _ZERO
    for i in range(m):
        first, stop = low[p + i] - (p + i - window), high[p + i] - (p + i - window)
        for c in range(first, stop, 4):
            _dots1(x, i, z, i + c, band, c)
        band[i, window] = _ZERO
        for c in range(stop, band.shape[1]):
            band[i, c] = _ZERO
    finite = _squash(band, m, -_ONE, hidden)
    loss, pairs = 0.0, 0
    for i in range(m):
        loss += hidden[i]
        product = 1.0
        for j in range(low[p + i], high[p + i]):
            c = j - (p + i - window)
            if c != window:
                product *= band[i, c]
                pairs += 1
                if product < 1e-200:
                    loss -= math.log(product)
                    product = 1.0
        loss -= math.log(product)
        for c in range(band.shape[1]):
            valid = low[p + i] <= p + i - window + c < high[p + i] and c != window
            band[i, c] = rate * (_ONE - band[i, c]) if valid else _ZERO
            across[i + c, i] = band[i, c]
    return loss, pairs, finite


@jit
def _clashes(x: Table, y: Table, weights: Table, dense: Table, drawn: Words, words: Words, low: Words, high: Words,
             p: int, m: int, ratio: Any, hidden: Doubles) -> float:
    """Take out of `weights` [B,K] every pair whose context word was drawn as the negative; answers the loss to take
    out. Called when `dense` holds σ and `hidden` what clamping took away."""
    loss = 0.0
    for j in range(low[p], high[p + m - 1]):
        for k in range(drawn.shape[0]):
            if drawn[k] == words[j]:
                for i in range(m):
                    if low[p + i] <= j < high[p + i] and j != p + i:
                        weights[i, k] = max(_ZERO, weights[i, k] - ratio)
                        loss -= ratio * math.log(_ONE - dense[i, k])
                        if hidden[i] > 0.0:
                            loss += ratio * max(_ZERO, _dot(x, i, y, k) - _LIMIT)
    return loss


@jit
def _negatives(x: Table, y: Table, dense: Table, across: Table, weights: Table, drawn: Words, words: Words, low: Words,
               high: Words, p: int, m: int, ratio: Any, rate: Any, hidden: Doubles) -> Any:
    """Scores and steps of the shared negatives: `dense` [B,K] ends as −rate·weight·σ, `across` is its transpose.
    Answers (summed loss, finite)."""
    for i in range(0, CENTRES, 4):
        for k in range(0, dense.shape[1], 4):
            _dots(x, i, y, k, dense, k)
    finite = _squash(dense, dense.shape[0], _ONE, hidden)
    loss = 0.0
    for i in range(CENTRES):
        share = ratio * np.float32(high[p + i] - low[p + i] - 1) if i < m else _ZERO
        product = 1.0
        for k in range(dense.shape[1]):
            weights[i, k] = share
            product *= _ONE - dense[i, k]
        loss += share * (hidden[i] - math.log(product))
    loss -= _clashes(x, y, weights, dense, drawn, words, low, high, p, m, ratio, hidden)
    for i in range(CENTRES):
        for k in range(dense.shape[1]):
            dense[i, k] = -rate * weights[i, k] * dense[i, k]
            across[k, i] = dense[i, k]
    return loss, finite


@jit
def _changes(xs: Any, ys: Any, zs: Any, dense: Table, dense_across: Table, band: Table, band_across: Table,
             low: Words, high: Words, p: int, m: int, window: int, top: int, bottom: int) -> None:
    """The block's changes from the steps: dx = dense·y + band·z, dy = denseᵀ·x, dz = bandᵀ·x."""
    x, dx, y, dy, z, dz = xs[0], xs[1], ys[0], ys[1], zs[0], zs[1]
    dx[:] = _ZERO
    for i in range(m):
        for k in range(0, dense.shape[1], 8):
            _add8(dx, i, y, k, dense, i, k)
        for c in range(low[p + i] - (p + i - window), high[p + i] - (p + i - window), 4):
            _add4(dx, i, z, i + c, band, i, c)
    dy[:] = _ZERO
    for k in range(dense.shape[1]):
        for i in range(0, CENTRES, 8):
            _add8(dy, k, x, i, dense_across, k, i)
    for r in range(top, bottom):
        dz[r, :] = _ZERO
        for i in range(0, CENTRES, 4):
            _add4(dz, r, x, i, band_across, r, i)


@jit
def train_centres(inward: Table, outward: Table, centres: Words, words: Words, low: Words, high: Words, start: int,
                  stop: int, first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int,
                  shared: int, window: int, state: NDArray[np.uint64], memory: Any) -> Any:
    """`train_blocks` for the centres start…stop alone, whose rows of `inward` are `centres` [n] while contexts and
    negatives are rows of `outward`; the rate falls over these centres."""
    xs, ys, zs, dense, dense_across, band, band_across, weights, drawn, hidden = memory
    ratio = np.float32(negatives) / np.float32(shared)
    loss, pairs = 0.0, 0
    p = np.int64(start)
    while p < stop:
        for k in range(shared):
            drawn[k] = negative(accept, other, state)
        m = _centres(centres, p, stop, drawn)
        rate = np.float32(first_rate + (last_rate - first_rate) * ((p - start) / (stop - start)))
        begin, end = np.int64(low[p]), np.int64(high[p])
        for i in range(1, m):
            begin, end = min(begin, np.int64(low[p + i])), max(end, np.int64(high[p + i]))
        top, bottom = begin - p + window, end - p + window
        _gather(inward, centres, p, m, xs[0], _FIRST)
        _gather(outward, words, begin, end - begin, zs[0], top)
        _gather(outward, drawn, _FIRST, shared, ys[0], _FIRST)
        gained, count, fine = _positives(xs[0], zs[0], band, band_across, low, high, p, m, window, rate, hidden)
        spent, also = _negatives(xs[0], ys[0], dense, dense_across, weights, drawn, words, low, high, p, m, ratio,
                                 rate, hidden)
        if not (fine and also):
            return loss, pairs, False
        loss += gained + spent
        pairs += count
        _changes(xs, ys, zs, dense, dense_across, band, band_across, low, high, p, m, window, top, bottom)
        _scatter(inward, centres, p, m, xs[1], _FIRST)
        _scatter(outward, words, begin, end - begin, zs[1], top)
        _scatter(outward, drawn, _FIRST, shared, ys[1], _FIRST)
        p += m
    return loss, pairs, True


@jit
def train_blocks(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                 last_rate: float, accept: Table, other: Words, negatives: int, shared: int, window: int,
                 state: NDArray[np.uint64], memory: Any) -> Any:
    """Train on a planned shard, block by block; arguments and answer as `kernel.train_pairs`. `shared`: K, a multiple
    of 8. `window`: the widest reach in the plan. `memory`: of `scratch`."""
    return train_centres(
        inward, outward, words, words, low, high, _FIRST, np.int64(n), first_rate, last_rate, accept, other, negatives,
        shared, window, state, memory,
    )
