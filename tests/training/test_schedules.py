"""Each schedule against a loop written from its source, step by step."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.training.config import ScheduleConfig
from foretext.training.schedules import factor, warmup_updates

TOTALS = st.integers(1, 5000)


def course(config, total):
    return [factor(config, step / total, total) for step in range(total + 1)]


@pytest.mark.parametrize(("total", "warmup"), [(1000, 100), (997, 31), (10, 0), (12, 1)])
def test_linear_is_googles(total, warmup):
    # optimization.py: polynomial decay from step 0, overridden by step / warm-up while step < warm-up.
    expected = []
    for step in range(total + 1):
        rate = (1.0 - 0.0) * (1 - min(step, total) / total) ** 1.0 + 0.0
        if warmup and step < warmup:
            rate = step / warmup
        expected.append(rate)
    got = course(ScheduleConfig(shape="linear", warmup_steps=warmup), total)
    assert got == pytest.approx(expected, abs=1e-12)
    if warmup:
        assert got[warmup] == pytest.approx(1 - warmup / total)


@given(total=TOTALS, warmup=st.floats(0.0, 0.9))
@settings(deadline=None, max_examples=50)
def test_product_is_openais(total, warmup):
    config = ScheduleConfig(shape="product", warmup=warmup)
    updates = warmup_updates(config, total)
    for step, got in enumerate(course(config, total)):
        x = step / total
        rising = 1.0 if step >= updates else step / updates
        assert got == pytest.approx(rising * (1 - x), abs=1e-9)


def test_triangle_is_crammings():
    # cramming's triangle2: min(b + x (1−b)/(1−f), (1−x)/f) with b = f = 0.25
    total = 900
    got = course(ScheduleConfig(shape="triangle"), total)
    for step, value in enumerate(got):
        x = step / total
        assert value == pytest.approx(min(0.25 + x * 0.75 / 0.75, (1 - x) / 0.25), abs=1e-12)
    assert (got[0], got[675], got[-1]) == pytest.approx((0.25, 1.0, 0.0))


def test_cosine_and_trapezoid_by_hand():
    cosine = ScheduleConfig(shape="cosine", warmup=0.0, warmup_steps=10, floor=0.1)
    got = course(cosine, 110)
    assert got[5] == 0.5
    assert got[10] == pytest.approx(1.0)
    assert got[60] == pytest.approx(0.55)
    assert got[110] == pytest.approx(0.1)
    assert got[35] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    trapezoid = course(ScheduleConfig(shape="trapezoid", warmup=0.1, fall=0.2), 100)
    assert trapezoid[5] == 0.5
    assert trapezoid[10:81] == pytest.approx([1.0] * 71)
    assert trapezoid[90] == pytest.approx(0.5)
    assert trapezoid[100] == 0.0
    assert course(ScheduleConfig(shape="constant", warmup=0.5), 4) == [0.0, 0.5, 1.0, 1.0, 1.0]


@given(
    total=TOTALS,
    shape=st.sampled_from(["constant", "linear", "cosine", "triangle", "product", "trapezoid"]),
    warmup=st.floats(0, 1),
    fall=st.floats(0, 1),
    done=st.floats(0, 1),
)
@settings(deadline=None, max_examples=200)
def test_always_a_share(total, shape, warmup, fall, done):
    assert 0.0 <= factor(ScheduleConfig(shape=shape, warmup=warmup, fall=fall), done, total) <= 1.0 + 1e-12


def test_a_short_run_is_not_all_warmup():
    config = ScheduleConfig(warmup_steps=10_000)
    assert warmup_updates(config, 1_000_000) == 10_000
    assert warmup_updates(config, 2_000) == 200
    assert warmup_updates(config, 3) == 1
