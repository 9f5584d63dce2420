"""Means, intervals and paired comparisons over seeds × test texts.

S seeds · N test texts · B resamples
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from foretext.draws import generator
from foretext.types import Bits, Floats

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with the interval that covers it in 95 of 100 repetitions; all in the unit of the score."""

    mean: float
    low: float
    high: float


def resampled(correct: Bits) -> Floats:
    """[B] means of `correct` [S,N], seeds and test texts drawn anew each time.

    Test texts are the same for all seeds, so they are drawn once a resample, for all seeds together; of S seeds S−1
    are drawn with replacement, which makes the variance unbiased however few they are (Rao & Wu 1988, section 2, with
    m = n − 1); one seed stays as it is. The draws depend on the shape alone: two systems on the same texts and seeds
    are resampled alike, so the difference of two answers of this function is a paired bootstrap.
    """
    seeds, texts = correct.shape
    rng = generator(0, "ladder bootstrap", seeds, texts)
    by_seed = np.empty((RESAMPLES, seeds))
    chunk = max(1, 2_000_000 // max(texts, 1))
    for start in range(0, RESAMPLES, chunk):
        counts = rng.multinomial(texts, np.full(texts, 1 / texts), size=min(chunk, RESAMPLES - start))
        by_seed[start : start + chunk] = counts @ correct.T.astype(np.float64) / texts
    if seeds == 1:
        return by_seed[:, 0]
    chosen = rng.integers(0, seeds, size=(RESAMPLES, seeds - 1))
    return np.asarray(np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1))


def interval(correct: Bits) -> Interval:
    """Mean share of right answers and its 95 % bootstrap interval. `correct` [S,N]."""
    low, high = np.quantile(resampled(correct), _ENDS)
    return Interval(mean=float(correct.mean()), low=float(low), high=float(high))


def difference(one: Bits, other: Bits) -> Interval:
    """Mean of `one` − `other` and its paired 95 % interval; both [S,N] on the same seeds and texts in the same order."""
    assert one.shape == other.shape, (one.shape, other.shape)
    low, high = np.quantile(resampled(one) - resampled(other), _ENDS)
    return Interval(mean=float(one.mean() - other.mean()), low=float(low), high=float(high))


def verdict(difference: Interval) -> Literal["above", "below", "level"]:
    """Whether a difference's interval lies above 0, below 0, or holds it."""
    return "above" if difference.low > 0 else "below" if difference.high < 0 else "level"


_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
