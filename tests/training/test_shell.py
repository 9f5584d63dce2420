"""The loop's decisions one by one: when it saves, what it keeps, what it refuses, what it says."""

import errno
import json
import math
import os
import signal
import threading

import numpy as np
import pytest

from foretext.errors import ArtefactError, DivergedError, Preempted
from foretext.folder import write_json
from foretext.training import checkpoint
from foretext.training import run as shell
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.training.run import NonFiniteStep, checked, evaluation_steps, run
from foretext.types import Report, State

QUIET = Limits(evaluations=0, checkpoint_minutes=None)


class Counter:
    """Counts its steps and its looks; `on_step(n)` runs before the nth."""

    def __init__(self, total=10, losses=None, on_step=None, on_look=None):
        self.total, self.value, self.losses = total, 0, losses
        self.on_step, self.on_look, self.looks = on_step, on_look, []

    def step(self):
        if self.on_step:
            self.on_step(self.value + 1)
        self.value += 1
        return Report(loss=1.0, count=1, tokens=10, done=self.value / self.total, norm=1.0)

    def state(self):
        return State(arrays={"value": np.array([self.value])}, cursor={"mine": self.value})

    def restore(self, state):
        self.value = int(state.arrays["value"][0])
        assert state.cursor == {"mine": self.value}

    def evaluate(self):
        self.looks.append(self.value)
        if self.on_look:
            self.on_look(self.value)
        return {"loss": self.losses[self.value] if self.losses else 1.0}


class Telling(SilentWatch):
    def __init__(self):
        super().__init__()
        self.told = []

    def begin(self, **what):
        self.told.append(("begin", what))

    def report(self, step, report):
        self.told.append(("report", step, report.tokens))

    def evaluated(self, step, losses):
        self.told.append(("evaluated", step, losses))

    def say(self, text):
        self.told.append(("say", text))

    def close(self):
        self.told.append(("close",))


class Clock:
    """time.monotonic, to be set by hand."""

    def __init__(self, monkeypatch):
        self.now = 10.0
        monkeypatch.setattr(shell.time, "monotonic", lambda: self.now)


def interrupt(at, number=signal.SIGTERM):
    return lambda n: os.kill(os.getpid(), number) if n == at else None


@pytest.fixture
def saves(monkeypatch):
    """The steps at which a checkpoint is written, and with which best."""
    real, seen = checkpoint.save, []

    def save(state, folder, step, *, keep, best):
        seen.append((step, best))
        return real(state, folder, step, keep=keep, best=best)

    monkeypatch.setattr(checkpoint, "save", save)
    return seen


def test_saves_come_by_steps_and_at_the_end_once(tmp_path, saves):
    run(Counter(), tmp_path / "a", Limits(evaluations=0, checkpoint_minutes=None, checkpoint_steps=4), SilentWatch())
    assert saves == [(4, None), (8, None), (10, None)]
    saves.clear()
    run(Counter(8), tmp_path / "b", Limits(evaluations=0, checkpoint_minutes=None, checkpoint_steps=4), SilentWatch())
    assert saves == [(4, None), (8, None)]
    saves.clear()
    run(Counter(), tmp_path / "c", QUIET, SilentWatch())
    assert saves == [(10, None)]


def test_saves_come_by_the_clock(tmp_path, saves, monkeypatch):
    clock = Clock(monkeypatch)

    for seconds, saved in ((60.0, [3, 6, 9, 10]), (59.5, [4, 8, 10])):

        def step(n, seconds=seconds):
            clock.now += seconds

        saves.clear()
        run(Counter(on_step=step), tmp_path / str(seconds), Limits(evaluations=0, checkpoint_minutes=3.0), SilentWatch())
        assert [step for step, _ in saves] == saved


@pytest.mark.parametrize(
    ("rest", "saved"),
    [({"choose": "best"}, [2, 4, 6]), ({"patience": 9}, [2, 4, 6]), ({}, [2, 6])],
)
def test_the_best_is_kept_where_it_is_needed_or_nearly_free(tmp_path, saves, monkeypatch, rest, saved):
    """A save takes a second, a step a minute until the first look and none after: then 2 % is soon exceeded."""
    clock, real = Clock(monkeypatch), checkpoint.save

    def slow(*what, **how):
        clock.now += 10.0
        return real(*what, **how)

    monkeypatch.setattr(checkpoint, "save", slow)

    def step(n):
        clock.now += 20.0 if n <= 2 else 1.0

    limits = Limits(evaluate_steps=2, checkpoint_minutes=None, **rest)
    stepper = Counter(6, losses={2: 3.0, 4: 2.0, 6: 1.0}, on_step=step)
    ending = run(stepper, tmp_path, limits, SilentWatch())
    assert [step for step, _ in saves] == saved
    assert saves[-1] == (6, 6)
    assert ending.seconds == 44.0 + 10.0 * len(saved)


def test_time_and_tokens_add_up_over_resumed_parts(tmp_path, monkeypatch):
    clock = Clock(monkeypatch)

    def second(stop):
        def step(n):
            clock.now += 1.0
            interrupt(stop)(n)

        return step

    with pytest.raises(Preempted):
        run(Counter(on_step=second(4)), tmp_path, QUIET, SilentWatch())
    clock.now = 5.0
    watch = Telling()
    ending = run(Counter(on_step=second(0)), tmp_path, QUIET, watch, unigram=7.0)
    assert (ending.seconds, ending.tokens, ending.steps, ending.best, ending.losses) == (10.0, 100, 10, None, {})
    assert watch.told[:3] == [
        ("say", "resumed after step 4 of 10"),
        ("begin", {"total": 10, "step": 4, "tokens": 40, "unigram": 7.0}),
        ("report", 5, 10),
    ]
    assert watch.told[-2:] == [("report", 10, 10), ("close",)]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["seconds"]) for line in lines] == [(n, float(n)) for n in range(1, 11)]


def test_the_watch_hears_of_every_look(tmp_path):
    watch = Telling()
    run(Counter(4, losses={2: 2.0, 4: 3.0}), tmp_path, Limits(evaluate_steps=2), watch)
    assert [told for told in watch.told if told[0] == "evaluated"] == [
        ("evaluated", 2, {"loss": 2.0}),
        ("evaluated", 4, {"loss": 3.0}),
    ]


def test_a_run_of_another_corpus_is_refused(tmp_path):
    run(Counter(), tmp_path, QUIET, SilentWatch(), identity={"corpus": "a", "recipe": "r"})
    assert run(Counter(), tmp_path, QUIET, SilentWatch(), identity={"recipe": "r", "corpus": "a"}).steps == 10
    for other, said in (
        ({"corpus": "b", "recipe": "r"}, r"\(corpus: a → b\)"),
        ({"corpus": "a"}, r"\(recipe: r → None\)"),
        ({"corpus": "a", "recipe": "s", "seed": "1"}, r"\(recipe: r → s; seed: None → 1\)"),
    ):
        with pytest.raises(ArtefactError, match=f"of another run {said}") as caught:
            run(Counter(), tmp_path, QUIET, SilentWatch(), identity=other)
        assert caught.value.file == str(tmp_path / "checkpoints" / "step-00000010")


def test_a_cursor_that_is_no_runs_is_refused(tmp_path):
    run(Counter(), tmp_path, QUIET, SilentWatch())
    cursor = checkpoint.latest(tmp_path / "checkpoints").state.cursor
    assert checked(cursor, tmp_path) is cursor
    for wrong in ({}, {**cursor, "total": "ten"}, {**cursor, "shell": {"step": 1.5}}, [], {**cursor, "total": None}):
        with pytest.raises(ArtefactError, match="not where a run stands") as caught:
            checked(wrong, tmp_path)
        assert caught.value.file == str(tmp_path / "cursor.json")


def test_without_checkpoints_an_interruption_says_so(tmp_path):
    limits = Limits(evaluations=0, keep=0, checkpoint_steps=1)
    with pytest.raises(Preempted, match="SIGINT: stopped after step 4 of 10; this run keeps no checkpoints"):
        run(Updating(on_step=interrupt(4, signal.SIGINT)), tmp_path, limits, SilentWatch())
    assert not (tmp_path / "checkpoints").exists()
    write_json(tmp_path / "checkpoints" / "step-00000001" / "foretext.json", {})  # not looked at
    assert run(Counter(), tmp_path, limits, SilentWatch()).steps == 10


class Updating(Counter):
    """A signal must wait for the end of its step, unless `updating` is set to False."""

    updating = True


@pytest.mark.parametrize(("updating", "done"), [(True, 4), (False, 3)])
def test_a_signal_waits_for_an_update_but_not_for_what_comes_before(tmp_path, updating, done):
    stepper = Updating(on_step=interrupt(4))
    stepper.updating = updating
    with pytest.raises(Preempted, match=f"stopped and saved after step {done} of 10"):
        run(stepper, tmp_path, QUIET, SilentWatch())
    assert stepper.value == done
    again = Counter()
    assert run(again, tmp_path, QUIET, SilentWatch()).steps == again.value == 10


def test_the_first_of_several_signals_is_named_and_only_a_look_is_cut_off(tmp_path):
    def both(n):
        if n == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Preempted, match="SIGINT: stopped and saved after step 4"):
        run(Counter(on_step=both), tmp_path, QUIET, SilentWatch())
    looking = Counter(on_look=lambda n: os.kill(os.getpid(), signal.SIGTERM) or pytest.fail("it went on"))
    with pytest.raises(Preempted, match="SIGTERM: stopped and saved after step 6"):
        run(looking, tmp_path, Limits(evaluate_steps=6), SilentWatch())
    again = Counter()
    assert run(again, tmp_path, Limits(evaluate_steps=6), SilentWatch()).losses == {"loss": 1.0}
    assert again.looks == [6, 10]


def test_handlers_come_back_after_an_error_too(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    watch = Telling()
    with pytest.raises(ZeroDivisionError):
        run(Counter(on_step=lambda n: 1 // (n - 2)), tmp_path, QUIET, watch)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert watch.told[-1] == ("close",)
    with (tmp_path / "log.jsonl").open("ab"):
        assert run(Counter(), tmp_path, QUIET, watch).steps == 10


def test_off_the_main_thread_the_handlers_are_left_alone(tmp_path):
    before, seen = signal.getsignal(signal.SIGTERM), []
    stepper = Counter(on_step=lambda n: seen.append(signal.getsignal(signal.SIGTERM)))
    thread = threading.Thread(target=lambda: run(stepper, tmp_path, QUIET, SilentWatch()))
    thread.start()
    thread.join()
    assert seen == [before] * 10


# ── divergence ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_step_that_diverged_without_a_batch_has_no_file(tmp_path):
    def burst(n):
        if n == 1:
            raise DivergedError("it burst", remedy="do less")

    with pytest.raises(DivergedError, match=r"^step 1: it burst; nothing of the update is kept, there is no checkpoint; do less$") as caught:
        run(Counter(on_step=burst), tmp_path, QUIET, SilentWatch())
    assert caught.value.file is None
    assert not list(tmp_path.glob("*.npz"))


def test_a_batch_that_cannot_be_written_does_not_hide_the_divergence(tmp_path, monkeypatch):
    def burst(n):
        raise NonFiniteStep("it is nan", arrays={"ids": np.arange(3)})

    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError("no words")):
        monkeypatch.setattr(np, "savez", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        watch = SilentWatch()
        with pytest.raises(DivergedError, match="step 1: it is nan") as caught:
            run(Counter(on_step=burst), tmp_path, QUIET, watch)
        assert caught.value.file is None
        assert "lower rate" in caught.value.remedy
        assert watch.alarms == [f"the batch could not be written ({error.strerror or error})"]


# ── endings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def ending_of(tmp_path, losses, **rest):
    stepper = Counter(len(losses), losses=dict(enumerate(losses, 1)))
    return stepper, run(stepper, tmp_path, Limits(evaluate_steps=1, checkpoint_minutes=None, **rest), SilentWatch())


def test_patience_counts_looks_in_a_row(tmp_path):
    """An equal loss is no better; a better one starts the count anew."""
    losses = [5.0, 5.0, 4.0, 4.5, 4.0, 3.0, 9.0, 9.0, 9.0, 1.0]
    stepper, ending = ending_of(tmp_path / "3", losses, patience=3)
    assert (ending.steps, ending.best, ending.stopped, ending.losses, stepper.value) == (9, 6, "early", {"loss": 9.0}, 9)
    stepper, ending = ending_of(tmp_path / "1", losses, patience=1)
    assert (ending.steps, ending.best, ending.stopped) == (2, 1, "early")
    stepper, ending = ending_of(tmp_path / "none", losses)
    assert (ending.steps, ending.best, ending.stopped) == (10, 10, "finished")


@pytest.mark.parametrize("keep", [0, 1])
def test_the_weights_chosen_are_the_last_or_the_best(tmp_path, keep):
    losses = [3.0, 1.0, 2.0, 2.0]
    stepper, ending = ending_of(tmp_path / "last", losses, keep=keep)
    assert (stepper.value, ending.best, ending.losses) == (4, 2, {"loss": 2.0})
    stepper, ending = ending_of(tmp_path / "best", losses, keep=keep, choose="best")
    assert (stepper.value, ending.best, ending.losses) == (2, 2, {"loss": 1.0})
    stepper, ending = ending_of(tmp_path / "end", [3.0, 2.0, 1.0], keep=keep, choose="best")
    assert (stepper.value, ending.best, ending.losses) == (3, 3, {"loss": 1.0})


def test_a_loss_that_was_not_a_number_comes_back_as_one(tmp_path):
    _, ending = ending_of(tmp_path, [2.0, math.nan])
    assert ending.best == 1
    assert math.isnan(ending.losses["loss"])
    stepper = Counter(2)
    again = run(stepper, tmp_path, Limits(evaluate_steps=1, checkpoint_minutes=None), SilentWatch())
    assert again.best == 1
    assert math.isnan(again.losses["loss"])


def test_looks_without_a_total_loss_are_never_the_best(tmp_path):
    stepper = Counter(3)
    stepper.evaluate = lambda: {"accuracy": 0.5}
    ending = run(stepper, tmp_path, Limits(evaluate_steps=1, patience=2), SilentWatch())
    assert (ending.steps, ending.best, ending.stopped, ending.losses) == (2, None, "early", {"accuracy": 0.5})


def test_looks_are_spread_by_rounding():
    assert sorted(evaluation_steps(Limits(evaluations=3), 11)) == [4, 7, 11]
    assert sorted(evaluation_steps(Limits(evaluate_steps=4), 8)) == [4, 8]
    assert sorted(evaluation_steps(Limits(evaluate_steps=20), 8)) == [8]
    assert sorted(evaluation_steps(Limits(evaluations=1), 8)) == [8]


def test_alarms_reach_the_watch_once(tmp_path):
    def step(stepper):
        report = Counter.step(stepper)
        norm = 500.0 if stepper.value in (25, 27) else 1.0
        return Report(loss=1.0, count=1, tokens=10, done=report.done, norm=norm)

    stepper, watch = Counter(30), SilentWatch()
    stepper.step = lambda: step(stepper)
    run(stepper, tmp_path, QUIET, watch)
    assert [alarm.split(":")[0] for alarm in watch.alarms] == ["step 25"]


def test_a_signal_during_the_last_save_is_answered_after_it(tmp_path):
    stepper = Counter()
    state = stepper.state

    def interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        return state()

    stepper.state = interrupted
    with pytest.raises(Preempted, match="SIGTERM: stopped and saved after step 10 of 10"):
        run(stepper, tmp_path, QUIET, SilentWatch())
    assert run(Counter(on_step=lambda n: pytest.fail("it stepped")), tmp_path, QUIET, SilentWatch()).steps == 10


def test_alarms_of_a_look_know_how_much_of_the_run_is_done(tmp_path):
    stepper, watch = Counter(10), SilentWatch()
    stepper.evaluate = lambda: {"loss": 9.0, "masked loss": 9.0, "next_sentence accuracy": 0.5}
    run(stepper, tmp_path, Limits(evaluate_steps=1, checkpoint_minutes=None), watch, unigram=7.0)
    assert [alarm.split(":")[0] for alarm in watch.alarms] == ["step 2", "step 3"]  # past 20 % and 30 %
