"""Minutes into steps where phases cost differently."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foretext import budget
from foretext.config import override
from foretext.pretraining import Setting, prepare
from foretext.recipes import find
from foretext.steppers import Job
from foretext.text.corpus import strings_corpus
from foretext.training.config import Limits
from foretext.training.distributed import Crew
from foretext.training.progress import SilentWatch
from foretext.training.trial import Rate

SILENT = SilentWatch()


@pytest.fixture
def job() -> Job:
    """Rows of 16 tokens for three quarters of the run, of 32 for the rest; a frozen encoder in the second part."""
    words = np.random.default_rng(0).choice("the boat on a river by an old bank".split(), (30, 60))
    corpus = strings_corpus([" ".join(row) + "." for row in words])
    windows = [{"kind": "packed", "length": length, "copies": 0} for length in (16, 32)]
    recipe = override(
        find("bert-budget"),
        {
            "family": {"layers": 1, "width": 16, "heads": 2, "inner": 16},
            "tokenizer": {"size": 60},
            "windows": windows[0],
            "phases": [{"share": 3.0}, {"share": 1.0, "windows": windows[1], "rates": {"": 1.0, "encoders": 0.0}}],
            "init_embeddings": "random",
            "batch": {"rows": 2},
        },
    )
    recipe = replace(recipe, limits=Limits(minutes=1.0, keep=0))
    store = prepare(recipe, corpus, None, Setting(workers=0), SILENT)
    return Job(recipe=recipe, store=store, threads=1, device="cpu")


def test_a_step_costs_the_mean_of_its_phases(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, float]] = []

    def measure(stepper: Any, seconds: float, *, patient: bool) -> Rate:
        assert not patient  # nothing is compiled here
        length = np.asarray(stepper._batches.step(0)[0].views["text"].ids).shape[1]
        seen.append((length, seconds))
        step = 0.1 if length == 16 else 0.5
        return Rate(step=step, tokens=100.0, evaluation=0.0, checkpoint=0.0, size=1, parameters=1, memory=length, steps=2)

    monkeypatch.setattr(budget.trial, "measure", measure)
    monkeypatch.setattr(budget, "TRIAL_SECONDS", 1.0)
    monkeypatch.setattr(budget, "FORECAST_SECONDS", 4.0)
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: 0.0))
    stepper, _, why = budget.planned(job, SILENT)
    assert seen == [(16, 0.75), (32, 0.25)]
    assert stepper.total == pytest.approx(0.98 * 60 / (0.75 * 0.1 + 0.25 * 0.5), abs=1)
    assert "200 ms (100 tokens/s)" in why
    found = budget.forecast(job, SILENT)
    assert seen[2:] == [(16, 3.0), (32, 1.0)]
    assert found["steps"] == pytest.approx(0.98 * 60 / 0.2, abs=1)
    assert found["tokens read"] == pytest.approx(found["steps"] * 0.2 * 100, abs=2)


def test_a_planned_run_of_phases_trains(job: Job) -> None:
    short = replace(job, recipe=replace(job.recipe, limits=Limits(minutes=0.005, keep=0)))
    stepper, _, _ = budget.planned(short, SILENT)
    assert np.isfinite(stepper.step().loss)


def test_with_several_processes_a_planned_run_starts_from_its_first_values(job: Job) -> None:
    """The other phase's trial takes the shared memory over; what the run starts from is not lost with it."""
    short = replace(job, recipe=replace(job.recipe, limits=Limits(minutes=0.005, keep=0)))
    alone, _, _ = budget.planned(short, SILENT)
    with Crew(2) as crew:
        together, _, _ = budget.planned(replace(short, crew=crew), SILENT)
        found, expected = together.state().arrays, alone.state().arrays
    assert np.abs(expected["heads.masked.bias"]).sum() > 0  # the log frequencies
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_run_that_ends_before_its_budget_says_so(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """An n-gram model has read its text once long before most budgets are spent."""
    rate = Rate(step=0.2, tokens=100.0, evaluation=0.0, checkpoint=0.0, size=1, parameters=1, memory=1, steps=2)
    monkeypatch.setattr(budget, "_measured", lambda *_: rate)

    class Once(SimpleNamespace):
        """A Stepper that reads all there is in seven steps."""

        @property
        def total(self) -> int:
            return self.most

        @total.setter
        def total(self, steps: int) -> None:
            self.most = min(steps, 7)

    monkeypatch.setattr(budget, "make", lambda *_, **__: Once(total=10**9))
    alone = replace(job, recipe=replace(job.recipe, phases=job.recipe.phases[:1]))
    stepper, _, why = budget.planned(alone, SILENT)
    assert stepper.total == 7
    assert why.startswith("7 steps read all there is; 1 minutes would be 2")
    assert budget.forecast(alone, SILENT)["steps"] == 7

    def make(*_: object, steps: int, **__: object) -> Once:
        made = Once()
        made.total = steps
        return made

    monkeypatch.setattr(budget, "make", make)
    for asked, told in ((6, "6 steps, as asked"), (9, "7 steps read all there is; 9 were asked for")):
        assert budget.planned(replace(alone, recipe=replace(alone.recipe, limits=Limits(steps=asked))), SILENT)[2] == told


@pytest.mark.parametrize(("spent", "told"), [(10.0, ""), (59.9, "1 step at 200 ms"), (30.0, "; 30 s of them were gone before the first")])
def test_a_budget_that_is_gone_before_the_first_step_is_told(job: Job, monkeypatch: pytest.MonkeyPatch, spent: float, told: str) -> None:
    rate = Rate(step=0.2, tokens=100.0, evaluation=0.0, checkpoint=0.0, size=1, parameters=1, memory=1, steps=2)
    monkeypatch.setattr(budget, "_measured", lambda *_: rate)
    _, _, why = budget.planned(job, SILENT, spent=spent)
    assert told in why
    assert ("were gone" in why) == (spent > 15.0)
