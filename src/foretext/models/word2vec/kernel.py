"""The arithmetic of skip-gram with negative sampling, compiled by Numba; importing this module compiles nothing.

n stream words · D width · V vocabulary. "in" rows answer for a centre,
"out" rows for the words around it. Everything random comes from one 64-bit state that the caller derives from
(seed, epoch, block, shard), so the result of a shard depends on nothing but its inputs.

A non-finite score is seen, and stops the shard before it is applied (`kernels` says what lets it).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import draw, jit
from foretext.types import Bits

Table = NDArray[np.float32]
Words = NDArray[np.int32]
Doubles = NDArray[np.float64]

_ZERO = np.float32(0.0)
_S32, _S40 = np.uint64(32), np.uint64(40)
_LOW32 = np.uint64(0xFFFFFFFF)
_UNIT24 = np.float32(1.0 / (1 << 24))


def alias_table(weights: Doubles) -> tuple[Table, Words]:
    """The alias table of `weights` [V] ≥ 0 with a positive sum (Vose 1991): accept [V] in [0,1], other [V]. A draw is
    i uniform, then i with probability accept[i], else other[i]."""
    size = len(weights)
    accept, other = np.ones(size, np.float32), np.arange(size, dtype=np.int32)
    _pair_up(weights * (size / weights.sum()), np.empty(size, np.int64), accept, other)
    return accept, other


@jit
def _pair_up(scaled: Doubles, order: NDArray[np.int64], accept: Table, other: Words) -> None:
    """Vose's algorithm: each entry below the mean is filled up by one above it. `scaled` [V] has mean 1 and is used
    up; `order` [V] is working memory, entries below 1 from the left, the others from the right."""
    size = scaled.shape[0]
    small, large = 0, size
    for i in range(size):
        if scaled[i] < 1.0:
            order[small] = i
            small += 1
        else:
            large -= 1
            order[large] = i
    while small > 0 and large < size:
        small -= 1
        low, high = order[small], order[large]
        accept[low] = scaled[low]
        other[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            order[small] = high
            small += 1
            large += 1


@jit
def negative(accept: Table, other: Words, state: NDArray[np.uint64]) -> Any:
    """One word drawn from the alias table."""
    bits = draw(state)
    i = np.int64(((bits & _LOW32) * np.uint64(accept.shape[0])) >> _S32)
    if np.float32(bits >> _S40) * _UNIT24 < accept[i]:
        return np.int64(i)
    return np.int64(other[i])


@jit
def draw_many(accept: Table, other: Words, state: NDArray[np.uint64], drawn: Words) -> None:
    """Fill `drawn` with words from the alias table."""
    for i in range(drawn.shape[0]):
        drawn[i] = negative(accept, other, state)


@jit
def plan(ids: Words, ends: Any, skipped: Any, keep: Table, window: int, state: NDArray[np.uint64],
         words: Words, low: Words, high: Words) -> int:
    """Sub-sample a shard and decide all its pairs; answers n, the words kept.

    `ids` [N]; `ends` [k] where each sentence stops (the last is N), `skipped` [k] sentences of the held-out part;
    `keep` [V] the probability of keeping a word, 0 for words left out (ids ≥ V are left out too). Fills `words` [n]
    and, for each, the stream positions [`low`, `high`) of its window, which never leaves its sentence: the pairs are
    (words[i], words[j]) for low[i] ≤ j < high[i], j ≠ i. Each window's reach is uniform in 1…`window`.
    """
    n = 0
    start = 0
    size = keep.shape[0]
    for s in range(ends.shape[0]):
        stop = ends[s]
        first = n
        if not skipped[s]:
            for t in range(start, stop):
                word = ids[t]
                if word >= size:
                    continue
                bits = draw(state)
                if np.float32(bits >> _S40) * _UNIT24 < keep[word]:
                    words[n] = word
                    low[n] = np.int32(((bits & _LOW32) * np.uint64(window)) >> _S32) + 1
                    n += 1
        for i in range(first, n):
            reach = low[i]
            low[i] = max(first, i - reach)
            high[i] = min(n, i + reach + 1)
        start = stop
    return n


@jit
def train_pairs(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                last_rate: float, accept: Table, other: Words, negatives: int, state: NDArray[np.uint64],
                still: Bits) -> Any:
    """One update a pair, with negatives of its own, as word2vec.c does it (2013b, eq. 4); the oracle.

    `inward`, `outward` [V,D] are changed in place, but rows of `inward` that `still` [V] (or [0]: none) marks are not. The rate falls from `first_rate` to `last_rate` over the n words.
    A drawn negative that equals the context word is skipped. Answers (summed loss in nats, pairs, finite).
    """
    width = inward.shape[1]
    change = np.zeros(width, np.float32)
    loss, pairs = 0.0, 0
    for i in range(n):
        rate = first_rate + (last_rate - first_rate) * (i / n)
        centre = words[i]
        for j in range(low[i], high[i]):
            if j == i:
                continue
            change[:] = _ZERO
            for k in range(negatives + 1):
                target = np.int64(words[j]) if k == 0 else negative(accept, other, state)
                if k > 0 and target == words[j]:
                    continue
                score = _ZERO
                for d in range(width):
                    score += inward[centre, d] * outward[target, d]
                if not math.isfinite(score):
                    return loss, pairs, False
                label = 1.0 if k == 0 else 0.0
                wrong = (1.0 - 2.0 * label) * score
                loss += max(0.0, float(wrong)) + math.log1p(math.exp(-abs(wrong)))
                error = label - 1.0 / (1.0 + math.exp(-score))
                step = np.float32(error * rate)
                for d in range(width):
                    change[d] += step * outward[target, d]
                    outward[target, d] += step * inward[centre, d]
            if not (still.shape[0] and still[centre]):
                for d in range(width):
                    inward[centre, d] += change[d]
            pairs += 1
    return loss, pairs, True
