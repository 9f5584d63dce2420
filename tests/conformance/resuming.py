"""Check 3: a run that was stopped anywhere and resumed is the run that never was, in bits and in order."""

import json
import math
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conformance.rows import Row, TaskRow
from conformance.saving import fresh, same_arrays
from foretext.errors import Preempted
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.training.run import Ending, run
from foretext.transferring.seeds import seed_stepper
from foretext.types import Batch, Report

EVERY = 2
"""Updates between checkpoints: at most so many are lost, and then repeated."""
LIMITS = Limits(evaluations=2, checkpoint_steps=EVERY, checkpoint_minutes=None, keep=2)


class Broken(RuntimeError):
    """What ends a leg in the middle of an update."""


class Listener(SilentWatch):
    """Notes every loss's bits; sends this process a signal after a given update."""

    def __init__(self, stop: int = 0) -> None:
        super().__init__()
        self.stop, self.losses = stop, dict[int, str]()

    def report(self, step: int, report: Report) -> None:
        self.losses[step] = report.loss.hex()
        if step == self.stop:
            signal.raise_signal(signal.SIGTERM)


class _Spied:
    """A source of batches that notes what it gave, row by row and in order."""

    def __init__(self, inner: Any, seen: list[Any]) -> None:
        self.inner, self.seen = inner, seen

    def step(self, step: int) -> list[Batch]:
        batches: list[Batch] = self.inner.step(step)
        rows = [
            (step, micro, name, [row.tolist() for row in np.asarray(view.ids)])
            for micro, batch in enumerate(batches)
            for name, view in batch.views.items()
        ]
        golds = [(n, np.asarray(t.at).tolist(), np.asarray(t.gold).tolist()) for b in batches for n, t in b.targets.items()]
        self.seen.append((*rows, *golds))
        return batches


def _spy(row: Row | TaskRow, stepper: Any, seen: list[Any]) -> None:
    if isinstance(row, Row) and row.own:
        row.own.spy(stepper, seen)
    else:
        stepper._batches = _Spied(stepper._batches, seen)


def _break_in(row: Row | TaskRow, stepper: Any, step: int) -> None:
    """End update `step` (from 0) after its first micro-batch."""
    if isinstance(row, Row) and row.own:
        row.own.break_in(stepper, step, Broken())
        return
    losses, calls = stepper._losses, []

    def broken(micro: Batch) -> Mapping[str, torch.Tensor]:
        calls.append(stepper.done)
        if calls.count(step) == 2:
            raise Broken
        found: Mapping[str, torch.Tensor] = losses(micro)
        return found

    stepper._losses = broken


def epoch_of(row: Row | TaskRow, stepper: Any) -> float:
    """Updates of one pass over the training data."""
    if isinstance(row, Row):
        return float(row.own.epoch(stepper) if row.own else stepper._batches.steps_per_epoch)
    return len(stepper._batches.rows) / stepper._batches.batch


def _by_step(seen: list[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for entry in seen:
        found.setdefault(entry[0][0] if isinstance(entry[0], tuple) else entry[0], []).append(entry)
    return found


def _maker(row: Row | TaskRow, steps: int) -> Callable[[], Any]:
    """Makes fresh steppers of `steps` updates; a task's texts are read once."""
    if isinstance(row, Row):
        return lambda: row.stepper(steps)
    bench = row.bench(steps=steps, micro_tokens=row.tokens(2))
    return lambda: seed_stepper(bench, bench.model(3), 3)


def resuming(row: Row | TaskRow) -> None:
    """Stopped after update 1, in the middle of accumulating one, in the middle and at the end of an epoch and after
    the last update, each time resumed by a new process's worth of objects with other random states: losses (bits),
    sample ids (in order), log, evaluations, parameters and optimizer state equal the uninterrupted run's."""
    epoch = epoch_of(row, _maker(row, 1)())
    total = math.ceil(1.5 * epoch) + 4
    straight_seen: list[Any] = []
    make = _maker(row, total)
    straight = make()
    _spy(row, straight, straight_seen)
    folder, whole_folder, listener = fresh(), fresh(), Listener()
    whole = run(straight, whole_folder, LIMITS, listener)
    expected = _by_step(straight_seen)
    middle, end = max(2, round(epoch / 2)), round(epoch)
    signals = [1, *sorted({middle, end} - {1}), total]
    assert sorted(set(signals)) == signals, "an epoch too short to be stopped inside"
    legs: list[tuple[str, int]] = [("signal", 1), ("break", 1), *(("signal", stop) for stop in signals[1:])]
    legs.insert(3, ("break", middle))
    stopped, ending = 0, None
    for number, (how, stop) in enumerate([*legs, ("end", 0)]):
        stepper, seen, watch = make(), list[Any](), Listener(stop if how == "signal" else 0)
        _spy(row, stepper, seen)
        if how == "break":
            _break_in(row, stepper, stop)
        torch.manual_seed(1000 + number)
        np.random.seed(number)
        try:
            ending = run(stepper, folder, LIMITS, watch)
            assert how == "end", f"the leg to be stopped by {how} at {stop} ran to its end"
        except (Preempted, Broken):
            assert how != "end"
        found = _by_step(seen)
        order = [entry[0][0] if isinstance(entry[0], tuple) else entry[0] for entry in seen]
        assert order == sorted(order), "updates out of order"
        if order:
            assert stopped - EVERY < order[0] <= stopped, f"resumed at update {order[0]}, stopped after {stopped}"
        for step, entries in found.items():
            whole_step = expected[step][: len(entries)] if how == "break" and step == stop else expected[step]
            assert entries == whole_step, f"leg {number} ({how}): update {step} read other rows, or in another order"
        for step, bits in watch.losses.items():
            assert bits == listener.losses[step], f"leg {number} ({how}): the loss of update {step} differs"
        stopped = stop
    assert ending is not None
    _same_end(whole, ending, straight.state(), stepper.state())
    assert _log(whole_folder) == _log(folder)


def _same_end(whole: Ending, ending: Ending, a: Any, b: Any) -> None:
    assert ending.losses == whole.losses
    assert (ending.steps, ending.tokens, ending.best) == (whole.steps, whole.tokens, whole.best)
    same_arrays(a.arrays, b.arrays)
    assert a.cursor == b.cursor


def _log(folder: Path) -> list[Any]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
