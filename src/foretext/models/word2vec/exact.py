"""The oracle beside `kernel.train_pairs`: one update an example, as word2vec.c makes it, for CBOW and for the tree.

CBOW (Mikolov et al. 2013a, section 3.1): the mean of the vectors around tells the word between them. As in word2vec.c
and gensim, every word around gets the gradient by the mean itself, not divided by their number (the derivative by its
own vector would be: İrsoy et al. 2020, arXiv 2012.15332); the usual rate of CBOW, 0.05, goes with that.

Hierarchical softmax (2013a, section 4): at every inner node on the way to a word, σ of the score is the probability of
code 0. word2vec.c leaves out scores beyond ±6; nothing is left out here. Skip-gram tells the centre by each word around
it, the direction of the code.

Arguments as in `kernel`; tables of float64 are trained in float64. Answers (summed loss in nats, examples, finite).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec.kernel import Table, Words, negative
from foretext.types import Bits, Ints


@jit
def _decide(hidden: Any, outward: Table, row: int, label: float, rate: float, change: Any) -> Any:
    """One binary decision: `outward[row]` moves, `change` [D] gathers rate × the gradient by `hidden`, its sign turned.
    Answers its loss; NaN where the score is not finite, and nothing has moved then."""
    score = hidden[0] * outward[row, 0]
    for d in range(1, hidden.shape[0]):
        score += hidden[d] * outward[row, d]
    if not math.isfinite(score):
        return math.nan
    wrong = (1.0 - 2.0 * label) * score
    step = (label - 1.0 / (1.0 + math.exp(-score))) * rate
    for d in range(hidden.shape[0]):
        change[d] += step * outward[row, d]
        outward[row, d] += step * hidden[d]
    return max(0.0, float(wrong)) + math.log1p(math.exp(-abs(wrong)))


@jit
def _mean(inward: Table, words: Words, low: int, high: int, centre: int, hidden: Any) -> int:
    """hidden [D] = the mean of the vectors around `centre`; answers how many they are."""
    hidden[:] = 0.0
    count = 0
    for j in range(low, high):
        if j != centre:
            count += 1
            for d in range(hidden.shape[0]):
                hidden[d] += inward[words[j], d]
    for d in range(hidden.shape[0]):
        hidden[d] /= max(1, count)
    return count


@jit
def _give(inward: Table, words: Words, low: int, high: int, centre: int, change: Any, still: Bits) -> None:
    """Every vector around `centre` += change [D], but those that stand still."""
    for j in range(low, high):
        if j != centre and not (still.shape[0] and still[words[j]]):
            for d in range(change.shape[0]):
                inward[words[j], d] += change[d]


@jit
def train_cbow(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
               last_rate: float, accept: Table, other: Words, negatives: int, state: NDArray[np.uint64],
               still: Bits) -> Any:
    """CBOW with negative sampling. `still` [V] or [0]: rows of `inward` that do not move."""
    hidden, change = np.zeros_like(inward[0]), np.zeros_like(inward[0])
    loss, examples = 0.0, 0
    for i in range(n):
        rate = first_rate + (last_rate - first_rate) * (i / n)
        if _mean(inward, words, low[i], high[i], i, hidden) == 0:
            continue
        change[:] = 0.0
        for k in range(negatives + 1):
            target = np.int64(words[i]) if k == 0 else negative(accept, other, state)
            if k > 0 and target == words[i]:
                continue
            spent = _decide(hidden, outward, target, 1.0 if k == 0 else 0.0, rate, change)
            if math.isnan(spent):
                return loss, examples, False
            loss += spent
        _give(inward, words, low[i], high[i], i, change, still)
        examples += 1
    return loss, examples, True


@jit
def train_cbow_tree(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
                    last_rate: float, first: Ints, nodes: Words, codes: Table, still: Bits) -> Any:
    """CBOW with hierarchical softmax; `first`, `nodes`, `codes`: of `tree.Tree`."""
    hidden, change = np.zeros_like(inward[0]), np.zeros_like(inward[0])
    loss, examples = 0.0, 0
    for i in range(n):
        rate = first_rate + (last_rate - first_rate) * (i / n)
        if _mean(inward, words, low[i], high[i], i, hidden) == 0:
            continue
        change[:] = 0.0
        for at in range(first[words[i]], first[words[i] + 1]):
            spent = _decide(hidden, outward, np.int64(nodes[at]), 1.0 - codes[at], rate, change)
            if math.isnan(spent):
                return loss, examples, False
            loss += spent
        _give(inward, words, low[i], high[i], i, change, still)
        examples += 1
    return loss, examples, True


@jit
def train_tree(inward: Table, outward: Table, words: Words, low: Words, high: Words, n: int, first_rate: float,
               last_rate: float, first: Ints, nodes: Words, codes: Table, still: Bits) -> Any:
    """Skip-gram with hierarchical softmax: each word around tells the centre."""
    hidden, change = np.zeros_like(inward[0]), np.zeros_like(inward[0])
    loss, examples = 0.0, 0
    for i in range(n):
        rate = first_rate + (last_rate - first_rate) * (i / n)
        for j in range(low[i], high[i]):
            if j == i:
                continue
            hidden[:] = inward[words[j]]
            change[:] = 0.0
            for at in range(first[words[i]], first[words[i] + 1]):
                spent = _decide(hidden, outward, np.int64(nodes[at]), 1.0 - codes[at], rate, change)
                if math.isnan(spent):
                    return loss, examples, False
                loss += spent
            if not (still.shape[0] and still[words[j]]):
                for d in range(change.shape[0]):
                    inward[words[j], d] += change[d]
            examples += 1
    return loss, examples, True
