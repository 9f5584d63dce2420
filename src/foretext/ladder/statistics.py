"""Means, intervals and paired comparisons over seeds × test texts.

S seeds · N test texts · B resamples (of S and N at once; pairs are differences of the same text and seed)
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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


def resampled(values: NDArray[Any]) -> Floats:
    """[B] means of `values` [S,N], seeds and test texts drawn anew each time.

    Test texts are the same for all seeds, so they are drawn once a resample, for all seeds together; of S seeds S−1
    are drawn with replacement, which makes the variance unbiased however few they are (Rao & Wu 1988, section 2, with
    m = n − 1); one seed stays as it is. Texts with the same values for every seed are alike: how often each kind is
    drawn is one multinomial draw, so a million texts cost no more than a hundred.
    """
    seeds, texts = values.shape
    rng = generator(0, "ladder bootstrap", seeds, texts)
    kinds, counts = np.unique(values, axis=1, return_counts=True)
    drawn = rng.multinomial(texts, counts / texts, size=RESAMPLES)
    by_seed = drawn @ kinds.T.astype(np.float64) / texts
    if seeds == 1:
        return np.asarray(by_seed[:, 0])
    chosen = rng.integers(0, seeds, size=(RESAMPLES, seeds - 1))
    return np.asarray(np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1))


def interval(correct: Bits) -> Interval:
    """Mean share of right answers and its 95 % bootstrap interval. `correct` [S,N]."""
    return _interval(correct.astype(np.int8))


def difference(one: Bits, other: Bits) -> Interval:
    """Mean of `one` − `other` and its paired 95 % interval; both [S,N] on the same seeds and texts in the same order."""
    assert one.shape == other.shape, (one.shape, other.shape)
    return _interval(one.astype(np.int8) - other.astype(np.int8))


def _interval(values: NDArray[Any]) -> Interval:
    low, high = np.quantile(resampled(values), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(mean=float(values.mean()), low=float(low), high=float(high))


def verdict(difference: Interval) -> Literal["above", "below", "level"]:
    """Whether a difference's interval lies above 0, below 0, or holds it."""
    return "above" if difference.low > 0 else "below" if difference.high < 0 else "level"
