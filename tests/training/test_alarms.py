"""Each alarm sounds where it must, once, and nowhere else."""

import pytest

from foretext.training.alarms import Alarms
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.training.run import run
from foretext.types import Report


def report(norm):
    return Report(loss=1.0, count=1, tokens=1, done=0.5, norm=norm)


def test_no_better_than_word_frequencies():
    alarms = Alarms(6.9)
    assert alarms.evaluated(10, 0.1, {"masked loss": 7.5}) == []  # too early to tell
    assert alarms.evaluated(20, 0.2, {"masked loss": 6.0}) == []
    (text,) = alarms.evaluated(30, 0.3, {"masked loss": 6.88})
    assert "6.88" in text
    assert "6.90" in text
    assert alarms.evaluated(40, 0.4, {"masked loss": 6.9}) == []  # once
    assert Alarms(None).evaluated(30, 0.3, {"masked loss": 9.0}) == []


def test_dead_next_sentence():
    few = {"next_sentence accuracy": 0.54, "next_sentence count": 100}
    many = {"next_sentence accuracy": 0.54, "next_sentence count": 10_000}
    assert Alarms().evaluated(1, 0.2, few) == []
    assert len(Alarms().evaluated(1, 0.3, few)) == 1  # 0.54 of 100 is chance
    assert Alarms().evaluated(1, 0.3, many) == []  # of 10,000 it is not
    assert Alarms().evaluated(1, 0.3, {"loss": 1.0}) == []


def test_exploding_gradients():
    alarms = Alarms()
    for step in range(30):
        assert alarms.report(step, report(1.0 + 0.1 * (step % 3))) == []
    assert alarms.report(30, report(15.0)) == []
    (text,) = alarms.report(31, report(25.0))
    assert "step 31" in text
    assert alarms.report(32, report(900.0)) == []
    assert Alarms().report(0, report(1e9)) == []  # nothing to compare with


def test_a_resumed_run_says_nothing_twice():
    first, second = Alarms(5.0), Alarms(5.0)
    first.evaluated(1, 0.5, {"masked loss": 6.0})
    for step in range(25):
        first.report(step, report(1.0))
    second.restore(first.state())
    assert second.evaluated(2, 0.6, {"masked loss": 6.0}) == []
    assert len(second.report(26, report(50.0))) == 1


def test_the_loop_passes_them_on(tiny, tmp_path):
    watch = SilentWatch()
    run(tiny.stepper(total=10), tmp_path, Limits(), watch, unigram=0.01)
    assert len([a for a in watch.alarms if "word frequencies" in a]) == 1


@pytest.mark.parametrize("norm", [None, float("nan"), float("inf")])
def test_norms_that_say_nothing(norm):
    assert Alarms().report(1, report(norm)) == []
