"""Scores by the lane against numpy."""

import math

import numba
import numpy as np
import pytest

from foretext.models.word2vec import lanes, registers


@numba.njit
def run_pull(scores, place, low, high, itself, rate, odds, lost):  # type: ignore[no-untyped-def]
    return lanes.pull(scores, 1, place, low, high, itself, rate, odds, lost)


@numba.njit
def run_push(scores, factors, odds, lost):  # type: ignore[no-untyped-def]
    lanes.push(scores, 1, factors, odds, lost)


@numba.njit
def run_decide(scores, column, codes, start, count, rate, odds, lost):  # type: ignore[no-untyped-def]
    return lanes.decide(scores, 1, column, codes, start, count, rate, odds, lost)


@numba.njit
def run_within(has, place, low, high, itself):  # type: ignore[no-untyped-def]
    return lanes.within(has, 1, place, low, high, itself)


@numba.njit
def run_bits(words, start, word):  # type: ignore[no-untyped-def]
    bits = lanes.equal(words, start, word)
    return bits, lanes.span(bits) if bits else (-1, -1)


def scores() -> np.ndarray:
    made = registers.zero_rows(2, 16)
    made[1] = np.array([0, 1, -1, 3, -3, 9, -9, 12, -12, 0.1, -0.1, 2, -2, 5, -5, 30], np.float32)
    return made


def sigma(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x.astype(np.float64), -lanes.LIMIT, lanes.LIMIT)))


def test_pairs_are_pulled_together() -> None:
    low, high = np.arange(16, dtype=np.int32) - 3, np.arange(16, dtype=np.int32) + 4
    high[9] = 5  # a window that ends early
    made, odds, lost = scores(), np.full(16, 0.5, np.float32), np.zeros(16, np.float32)
    before = made[1].copy()
    found = run_pull(made, 7, low, high, 6, np.float32(0.25), odds, lost)
    pairs = (low <= 7) & (high > 7) & (np.arange(16) != 6)
    assert [bool(found >> i & 1) for i in range(16)] == pairs.tolist()
    assert pairs.tolist() == [4 <= i <= 10 and i not in (6, 9) for i in range(16)]
    np.testing.assert_allclose(made[1], np.where(pairs, 0.25 * (1 - sigma(before)), 0), atol=1e-6)
    np.testing.assert_allclose(odds, np.where(pairs, 0.5 * sigma(before), 0.5), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(lost, np.where(pairs, np.maximum(0, -before - lanes.LIMIT), 0), atol=1e-5)
    assert lost[8] == 2.0
    assert not made[0].any()


def test_which_means_have_a_context() -> None:
    low, high = np.arange(16, dtype=np.int32) - 3, np.arange(16, dtype=np.int32) + 4
    has = scores()
    found = run_within(has, 7, low, high, 6)
    assert [bool(found >> i & 1) for i in range(16)] == [4 <= i <= 10 and i != 6 for i in range(16)]
    assert has[1].tolist() == [float(found >> i & 1) for i in range(16)]
    assert not has[0].any()


@pytest.mark.parametrize("count", [1, 11, 16, 40])
def test_decisions_on_a_path(count: int) -> None:
    made, odds, lost = registers.zero_rows(2, 32), np.full(16, 0.5, np.float32), np.zeros(16, np.float32)
    made[1, 16:] = scores()[1]
    before, some = made[1, 16:].copy(), min(count, 16)
    codes = np.array([1, 1] + [0, 1, 1, 0] * 10, np.float32)[: 2 + some]  # and no more to be read
    assert run_decide(made, 16, codes, 2, count, np.float32(0.25), odds, lost) == 0
    code, signed = codes[2:], np.where(codes[2:] > 0, -1, 1) * before[:some]
    np.testing.assert_allclose(made[1, 16 : 16 + some], 0.25 * (1 - code - sigma(before[:some])), atol=1e-6)
    assert not made[1, 16 + some :].any()
    assert not made[1, :16].any()
    np.testing.assert_allclose(odds[:some], 0.5 * sigma(signed), rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(lost[:some], np.maximum(0, -signed - lanes.LIMIT), atol=1e-5)
    assert (odds[some:] == 0.5).all()
    assert not lost[some:].any()


def test_negatives_are_pushed_away() -> None:
    made, odds, lost = scores(), np.ones(16, np.float32), np.zeros(16, np.float32)
    before, factors = made[1].copy(), -np.arange(16, dtype=np.float32)
    run_push(made, factors, odds, lost)
    np.testing.assert_allclose(made[1], factors * sigma(before), atol=1e-5)
    np.testing.assert_allclose(odds, 1 - sigma(before), rtol=1e-2, atol=1e-6)
    np.testing.assert_allclose(lost, np.maximum(0, before - lanes.LIMIT), atol=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_seen(value: float) -> None:
    everywhere = np.zeros(16, np.int32), np.full(16, 16, np.int32)
    made, lost = scores(), np.zeros(16, np.float32)
    made[1, 5] = value
    run_pull(made, 3, *everywhere, -1, np.float32(0.1), np.ones(16, np.float32), lost)
    assert not math.isfinite(lost[5])
    assert np.isfinite(np.delete(lost, 5)).all()
    made, lost = scores(), np.zeros(16, np.float32)
    made[1, 5] = value
    run_push(made, np.ones(16, np.float32), np.ones(16, np.float32), lost)
    assert not math.isfinite(lost[5])
    made[0, :], made[1, 5], lost = 0.0, value, np.zeros(16, np.float32)
    codes = np.ones(16, np.float32)
    assert run_decide(made, 0, codes, 0, 12, np.float32(0.1), np.ones(16, np.float32), lost) == 1 << 5
    assert run_decide(made, 0, codes, 0, 5, np.float32(0.1), np.ones(16, np.float32), np.zeros(16, np.float32)) == 0


def test_words_are_found_by_the_bit() -> None:
    words = np.arange(40, dtype=np.int32) % 10
    assert run_bits(words, 3, 5) == (1 << 2 | 1 << 12, (2, 13))
    assert run_bits(words, 0, 99) == (0, (-1, -1))
    assert run_bits(np.full(16, 7, np.int32), 0, 7) == ((1 << 16) - 1, (0, 16))
