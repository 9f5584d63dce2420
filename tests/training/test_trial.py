"""The trial times what it says, disturbs nothing, and the plan fits the budget."""

from types import SimpleNamespace

import numpy as np
import pytest

from foretext.errors import DivergedError
from foretext.training import trial
from foretext.training.config import Limits
from foretext.training.trial import Rate, affordable, forecast, measure, plan_steps
from foretext.types import Report, State


class Slow:
    """By its own clock: steps of 4 ms (`each`) after two of 100 ms, one of 3 s now and then; evaluations of 20 ms."""

    total = 100

    def __init__(self, fails=0, each=0.004):
        self.value, self.made, self.fails, self.now, self.each = 0.0, 0, fails, 50.0, each

    def step(self):
        self.made += 1
        if self.made == self.fails:
            raise DivergedError("no")
        self.now += max(self.each, 0.1 if self.made <= 2 else 3.0 if self.made == 9 else 0.0)
        self.value += 1
        return Report(loss=1.0, count=1, tokens=40, done=0.0)

    def state(self):
        arrays = {"w": np.full(1000, self.value, np.float32), "optimizer.w.m": np.zeros(1000, np.float32)}
        return State(arrays=arrays, cursor=self.value)

    def restore(self, state):
        self.value = state.cursor

    def evaluate(self):
        self.now += 0.02
        return {"loss": 1.0}


@pytest.fixture
def slow(monkeypatch):
    stepper = Slow()
    monkeypatch.setattr(trial, "time", SimpleNamespace(perf_counter=lambda: stepper.now))
    return stepper


def rate(**changed):
    fields = {"step": 0.1, "tokens": 1000.0, "evaluation": 2.0, "checkpoint": 1.0, "size": 10**6, "parameters": 5}
    return Rate(**{**fields, "memory": 7, "steps": 3, **changed})


def test_measures_without_the_warm_up_and_leaves_no_trace(slow):
    slow.value = 17.0
    found = measure(slow, 3.1)
    assert slow.value == 17.0
    assert found.step == pytest.approx(0.004)  # neither the warm-up nor the hiccup counts
    assert found.tokens == pytest.approx(10_000)
    assert found.evaluation == pytest.approx(0.02)
    assert (found.size, found.parameters) == (8000, 1000)
    assert found.steps in (26, 27)  # 3 s in one, 0.1 s in the rest
    assert found.memory > 10**7


@pytest.mark.parametrize(("seconds", "made"), [(0.5, 2), (7.0, 2), (19.0, 5)])
def test_a_trial_of_long_updates_makes_few(slow, seconds, made):
    """One is the warm-up where it is longer than the trial, and one is timed: 100 s of trial for a budget of 18 was seen."""
    slow.each = 9.0
    found = measure(slow, seconds)
    assert (slow.made, found.steps) == (made, 1 if made == 2 else 3)
    assert found.step == pytest.approx(9.0)


def test_a_compiler_gets_its_two_updates_of_warm_up(slow):
    assert measure(slow, 0.05).step == pytest.approx(0.1)  # the first is longer than the trial, so the second is timed
    slow.made = 0
    assert measure(slow, 0.05, patient=True).step == pytest.approx(0.004)


def test_a_failing_trial_is_undone_too(slow):
    slow.fails = 2
    with pytest.raises(DivergedError):
        measure(slow, 0.1)
    assert slow.value == 0.0


def test_a_real_stepper_trains_on_as_if_nothing_had_been(tiny):
    plain, timed = tiny.stepper(), tiny.stepper()
    for s in (plain, timed):
        s.step()
    measure(timed, 0.05)
    assert [timed.step() for _ in range(3)] == [plain.step() for _ in range(3)]
    for name, array in plain.state().arrays.items():
        assert np.array_equal(timed.state().arrays[name], array), name


def test_the_plan_fits_the_minutes():
    plain = Limits(evaluations=0, keep=0)
    assert plan_steps(rate(), 1.0, plain) == 588
    assert plan_steps(rate(), 1.0, plain, spent=30.0) == 294
    # 10 looks of 2 s, saves at 0.5 and 1 min and the end, one second each
    limits = Limits(evaluations=10, checkpoint_minutes=0.5)
    assert plan_steps(rate(), 1.0, limits) == 362
    # every 10 steps a look: 2 s on 1 s
    assert plan_steps(rate(), 1.0, Limits(evaluate_steps=10, keep=0)) == 196
    assert plan_steps(rate(), 0.0, plain) == 1


def test_looking_may_not_eat_the_budget():
    # A look is 2 s: in a minute, six seconds of looking are three looks.
    assert affordable(rate(), Limits(minutes=2.0, evaluations=20)) == Limits(minutes=2.0, evaluations=3)
    assert affordable(rate(), Limits(minutes=2.0, evaluations=20), spent=80.0).evaluations == 1
    assert affordable(rate(), Limits(minutes=2.0, evaluations=2)).evaluations == 2
    assert affordable(rate(), Limits(minutes=1.0, evaluations=0)).evaluations == 0
    assert affordable(rate(), Limits(steps=10, evaluations=20)).evaluations == 20


@pytest.mark.parametrize("limits", [Limits(), Limits(evaluate_steps=50), Limits(keep=0), Limits(checkpoint_steps=100)])
def test_forecast_agrees_with_the_plan(limits):
    steps = plan_steps(rate(), 30.0, limits)
    expected = forecast(rate(), steps, limits)
    assert 0.95 * 30 <= 60 * expected.hours <= 30
    assert expected.tokens == pytest.approx(steps * 100)
    assert expected.disk == (4 * 10**6 if limits.keep else 0)
