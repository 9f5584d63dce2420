"""The arithmetic of fastText: a hidden vector is a mean of many rows, and each of them gets the hidden vector's gradient.

Dividing that gradient by the number of rows would be the derivative; the released code divides for its classifier alone
(src/model.cc, normalizeGradient_), so one update moves a word's vector as far as in word2vec, however long the word.

n stream words · D width · V vocabulary · K rows of n-grams. "inward" [V,D] and "grams" [K,D] make vectors of words;
word w has the n-gram rows `rows[first[w] : first[w + 1]]`; "outward" [V,D] rows answer for the words to be told.
`still` [V] and `fixed` [K] mark words and n-gram rows that stand still (both [0]: none does); all n-grams of a word that
stands still are fixed. A word that learns then moves by its other rows alone, each so much further that its vector
still moves as far.
Randomness and finiteness are as in `kernel`.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec import blocks, means
from foretext.models.word2vec.kernel import Table, Words, negative
from foretext.models.word2vec.subwords import Offsets, put_together
from foretext.types import Bits

SPAN = 128
"""Stream words whose vectors are put together at once. Within a span a word's own updates are seen at once, those that
come to it through n-grams of other words only in the next span; more words share more, and see older vectors."""

_ZERO = np.float32(0.0)


@jit
def _tell(hidden: Table, outward: Table, word: int, accept: Table, other: Words, negatives: int, rate: float,
          state: NDArray[np.uint64], change: Table) -> Any:
    """One update: `hidden` [D] tells `word` from `negatives` drawn ones (a drawn one that is the word is skipped).
    `outward` moves, `change` [D] gets rate × the gradient by `hidden`, its sign turned. Answers (loss, finite)."""
    width = hidden.shape[0]
    loss = 0.0
    change[:] = _ZERO
    for k in range(negatives + 1):
        target = np.int64(word) if k == 0 else negative(accept, other, state)
        if k > 0 and target == word:
            continue
        score = _ZERO
        for d in range(width):
            score += hidden[d] * outward[target, d]
        if not math.isfinite(score):
            return loss, False
        label = 1.0 if k == 0 else 0.0
        wrong = (1.0 - 2.0 * label) * score
        loss += max(0.0, float(wrong)) + math.log1p(math.exp(-abs(wrong)))
        step = np.float32((label - 1.0 / (1.0 + math.exp(-score))) * rate)
        for d in range(width):
            change[d] += step * outward[target, d]
            outward[target, d] += step * hidden[d]
    return loss, True


@jit
def _add(inward: Table, grams: Table, first: Offsets, rows: Words, word: int, hidden: Table) -> None:
    """hidden [D] += every row of `word`."""
    for d in range(hidden.shape[0]):
        hidden[d] += inward[word, d]
    for g in range(first[word], first[word + 1]):
        row = np.int64(rows[g])
        for d in range(hidden.shape[0]):
            hidden[d] += grams[row, d]


@jit
def _hand_down(inward: Table, grams: Table, first: Offsets, rows: Words, word: int, change: Table, still: Bits,
               fixed: Bits) -> None:
    """Every row of `word` += change [D]; where some are fixed, the others get theirs too."""
    frozen, further = still.shape[0] > 0, np.float32(1.0)
    if frozen:
        if still[word]:
            return
        free = 1
        for g in range(first[word], first[word + 1]):
            free += 0 if fixed[rows[g]] else 1
        further = np.float32(1 + first[word + 1] - first[word]) / np.float32(free)
    for d in range(change.shape[0]):
        inward[word, d] += further * change[d]
    for g in range(first[word], first[word + 1]):
        row = np.int64(rows[g])
        if not (frozen and fixed[row]):
            for d in range(change.shape[0]):
                grams[row, d] += further * change[d]


@jit
def train_pairs(inward: Table, grams: Table, outward: Table, first: Offsets, rows: Words, words: Words, low: Words,
                high: Words, n: int, first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int,
                state: NDArray[np.uint64], still: Bits, fixed: Bits) -> Any:
    """Skip-gram, one update a pair (src/fasttext.cc, skipgram): the oracle. The plan is of `kernel.plan`; the rate falls
    from `first_rate` to `last_rate` over the n words. Answers (summed loss in nats, pairs, finite)."""
    hidden, change = np.empty(inward.shape[1], inward.dtype), np.empty(inward.shape[1], inward.dtype)
    loss, pairs = 0.0, 0
    for i in range(n):
        rate = first_rate + (last_rate - first_rate) * (i / n)
        word = np.int64(words[i])
        share = np.float32(1.0 / (1 + first[word + 1] - first[word]))
        for j in range(low[i], high[i]):
            if j == i:
                continue
            hidden[:] = _ZERO
            _add(inward, grams, first, rows, word, hidden)
            for d in range(hidden.shape[0]):
                hidden[d] *= share
            spent, finite = _tell(hidden, outward, np.int64(words[j]), accept, other, negatives, rate, state, change)
            if not finite:
                return loss, pairs, False
            _hand_down(inward, grams, first, rows, word, change, still, fixed)
            loss += spent
            pairs += 1
    return loss, pairs, True


@jit
def train_cbow_pairs(inward: Table, grams: Table, outward: Table, first: Offsets, rows: Words, words: Words, low: Words,
                     high: Words, n: int, first_rate: float, last_rate: float, accept: Table, other: Words,
                     negatives: int, state: NDArray[np.uint64], still: Bits, fixed: Bits) -> Any:
    """CBOW, one update a centre: hidden is the mean over all rows of all words around (src/fasttext.cc, cbow): the
    oracle. Arguments and answer as `train_pairs`; a "pair" is a centre that has words around it."""
    hidden, change = np.empty(inward.shape[1], inward.dtype), np.empty(inward.shape[1], inward.dtype)
    loss, told = 0.0, 0
    for i in range(n):
        rate = first_rate + (last_rate - first_rate) * (i / n)
        hidden[:] = _ZERO
        count = 0
        for j in range(low[i], high[i]):
            if j != i:
                word = np.int64(words[j])
                _add(inward, grams, first, rows, word, hidden)
                count += 1 + first[word + 1] - first[word]
        if count == 0:
            continue
        share = np.float32(1.0 / count)
        for d in range(hidden.shape[0]):
            hidden[d] *= share
        spent, finite = _tell(hidden, outward, np.int64(words[i]), accept, other, negatives, rate, state, change)
        if not finite:
            return loss, told, False
        for j in range(low[i], high[i]):
            if j != i:
                _hand_down(inward, grams, first, rows, np.int64(words[j]), change, still, fixed)
        loss += spent
        told += 1
    return loss, told, True


# ── in spans ────────────────────────────────────────────────────────────────────────────────────────────────────────


def scratch(vocabulary: int, width: int, window: int) -> tuple[Any, ...]:
    """Working memory of one thread: each word's place in the span (−1: not there) [V], the span's distinct words, which
    of them stand still, their vectors as they are and as they were, a word's change."""
    most = SPAN + 2 * window
    tables = [np.empty(shape, np.float32) for shape in ((most, width), (most, width), width)]
    return np.full(vocabulary, -1, np.int32), np.empty(most, np.int32), np.zeros(most, np.bool_), *tables


@jit
def _enter(inward: Table, grams: Table, first: Offsets, rows: Words, words: Words, start: int, stop: int, place: Words,
           seen: Words, held: Bits, now: Table, before: Table, still: Bits) -> int:
    """Number the distinct words of words[start:stop] and put their vectors together; answers how many they are."""
    count = 0
    for t in range(start, stop):
        word = words[t]
        if place[word] < 0:
            place[word] = count
            seen[count] = word
            held[count] = still.shape[0] > 0 and still[word]
            count += 1
    put_together(inward, grams, first, rows, seen[:count], now)
    for u in range(count):
        before[u, :] = now[u]
    return count


@jit
def _leave(inward: Table, grams: Table, first: Offsets, rows: Words, place: Words, seen: Words, count: int, now: Table,
           before: Table, change: Table, still: Bits, fixed: Bits) -> None:
    """Hand every word's change since `_enter` down to its rows, and forget the numbers."""
    for u in range(count):
        word = np.int64(seen[u])
        place[word] = -1
        for d in range(change.shape[0]):
            change[d] = now[u, d] - before[u, d]
        _hand_down(inward, grams, first, rows, word, change, still, fixed)


@jit
def train_spans(inward: Table, grams: Table, outward: Table, first: Offsets, rows: Words, words: Words, low: Words,
                high: Words, n: int, first_rate: float, last_rate: float, accept: Table, other: Words, negatives: int,
                shared: int, state: NDArray[np.uint64], memory: Any, local: Any, still: Bits, fixed: Bits) -> Any:
    """Skip-gram, the fast method: a span's word vectors are trained as word2vec's `blocks.train_centres` trains rows.
    Arguments and answer as `train_pairs`; `memory`: of `blocks.scratch`, `local`: of `scratch`."""
    place, seen, held, now, before, change = local
    centres = np.empty(n, np.int32)
    loss, pairs = 0.0, 0
    for start in range(0, n, SPAN):
        stop = min(start + SPAN, n)
        count = _enter(inward, grams, first, rows, words, start, stop, place, seen, held, now, before, still)
        for t in range(start, stop):
            centres[t] = place[words[t]]
        begin = first_rate + (last_rate - first_rate) * (start / n)
        end = first_rate + (last_rate - first_rate) * (stop / n)
        spent, made, finite = blocks.train_centres(
            now, outward, centres, words, low, high, start, stop, begin, end, accept, other, negatives, shared, state,
            memory, held[: min(count, still.shape[0])],  # none where no word of the vocabulary stands still
        )
        if not finite:
            return loss, pairs, False
        _leave(inward, grams, first, rows, place, seen, count, now, before, change, still, fixed)
        loss += spent
        pairs += made
    return loss, pairs, True


@jit
def train_cbow_spans(inward: Table, grams: Table, outward: Table, first: Offsets, rows: Words, words: Words, low: Words,
                     high: Words, n: int, first_rate: float, last_rate: float, accept: Table, other: Words,
                     negatives: int, shared: int, state: NDArray[np.uint64], memory: Any, local: Any, still: Bits,
                     fixed: Bits) -> Any:
    """CBOW, the fast method: a span's word vectors, each counted as often as it has rows, are trained as word2vec's
    `means.train_weighted` trains rows. Arguments and answer as `train_cbow_pairs`; `memory`: of `means.scratch`, `local`:
    of `scratch`."""
    place, seen, held, now, before, change = local
    numbers, weights = np.empty(n, np.int32), np.empty(len(seen), np.float32)
    loss, told = 0.0, 0
    for start in range(0, n, SPAN):
        stop = min(start + SPAN, n)
        left, right = blocks.reach(low, high, start, stop - start)
        count = _enter(inward, grams, first, rows, words, left, right, place, seen, held, now, before, still)
        for t in range(left, right):
            numbers[t] = place[words[t]]
        for u in range(count):
            weights[u] = 1 + first[seen[u] + 1] - first[seen[u]]
        begin = first_rate + (last_rate - first_rate) * (start / n)
        end = first_rate + (last_rate - first_rate) * (stop / n)
        spent, made, finite = means.train_weighted(
            now, outward, numbers, words, low, high, start, stop, begin, end, accept, other, negatives, shared, state,
            memory, held[: min(count, still.shape[0])], weights,
        )
        if not finite:
            return loss, told, False
        _leave(inward, grams, first, rows, place, seen, count, now, before, change, still, fixed)
        loss += spent
        told += made
    return loss, told, True
