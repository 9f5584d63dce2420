"""Intervals and paired comparisons beside closed forms and brute force."""

import numpy as np
import pytest

from foretext.ladder.statistics import RESAMPLES, difference, interval, resampled, verdict


def answers(seeds: int, texts: int, share: float, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((seeds, texts)) < share


def test_one_seed_is_the_ordinary_bootstrap() -> None:
    correct = answers(1, 500, 0.3)
    mean, deviation = correct.mean(), np.sqrt(correct.mean() * (1 - correct.mean()) / 500)
    found = interval(correct)
    assert found.mean == pytest.approx(mean)
    assert found.low == pytest.approx(mean - 1.96 * deviation, abs=0.005)
    assert found.high == pytest.approx(mean + 1.96 * deviation, abs=0.005)
    assert resampled(correct).shape == (RESAMPLES,)


def test_seeds_count_as_a_source_of_chance_without_bias() -> None:
    """Seeds far apart, texts without chance: the variance must be that of a mean of S draws, s² / S, unbiased."""
    correct = np.repeat(np.array([[True], [False], [True], [False]]), 200, axis=1)
    shares = correct.mean(axis=1)
    assert resampled(correct).var() == pytest.approx(shares.var(ddof=1) / 4, rel=0.08)


def test_difference_is_paired() -> None:
    """Two systems that differ on few texts: pairing leaves only those as chance."""
    one = answers(3, 1000, 0.6)
    other = one.copy()
    flipped = np.random.default_rng(1).choice(1000, 40, replace=False)
    other[:, flipped] = False
    gap = difference(one, other)
    lost = (one.mean() - other.mean())
    assert gap.mean == pytest.approx(lost)
    assert gap.low > 0
    assert gap.high - gap.low < 0.6 * (interval(one).high - interval(one).low)
    assert verdict(gap) == "above"
    assert verdict(difference(other, one)) == "below"
    assert verdict(difference(one, one)) == "level"
    assert difference(one, other).low == pytest.approx(-difference(other, one).high, abs=0.004)


def test_answers_are_the_same_every_time_and_cover() -> None:
    """Of many experiments of 3 seeds, about 95 % of the intervals hold the truth (fewer seeds, wider intervals)."""
    assert interval(answers(3, 200, 0.5)) == interval(answers(3, 200, 0.5))
    held = [(lambda i: i.low <= 0.5 <= i.high)(interval(answers(3, 200, 0.5, seed=n))) for n in range(60)]
    assert 0.85 <= np.mean(held) <= 1.0
