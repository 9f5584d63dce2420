"""What a person sees of a ladder while it runs: what is happening, how far it is, and how long it will still take."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TextIO

from foretext.ladder.cells import Cell, Plan
from foretext.ladder.rendering import seconds_text

GUESS = {"": 1.0, "features": 4.0, "frozen": 10.0, "finetune": 15.0, "scratch": 15.0}
"""Seconds a score cell takes, until one of its kind has been seen."""


class LadderWatch(Protocol):
    """Listens to a ladder."""

    def begin(self, todo: Sequence[Plan], finished: int, minutes: float, workers: int) -> None:
        """These cells are to be run, `finished` are there already; a pretraining may take `minutes`."""
        ...

    def started(self, plan: Plan) -> None: ...

    def news(self, plan: Plan, text: str, share: float) -> None:
        """How a running cell is doing: `share` ∈ [0,1] of it is done."""
        ...

    def ended(self, plan: Plan, cell: Cell) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


class Estimate:
    """Seconds that are still to come, from what cells of the same kind took."""

    def __init__(self, todo: Sequence[Plan], minutes: float, workers: int) -> None:
        self._left = {plan.key: plan for plan in todo}
        self._share: dict[str, float] = {}
        self._seen: dict[str, list[float]] = {}
        self._minutes, self._workers = minutes, max(1, workers)
        self.whole = self.left() or 1.0

    def news(self, plan: Plan, share: float) -> None:
        self._share[plan.key] = share

    def ended(self, plan: Plan, cell: Cell) -> None:
        self._left.pop(plan.key, None)
        self._seen.setdefault(self._kind(plan), []).append(sum(cell.seconds.get(n, 0.0) for n in ("transfer", "predict", "encoding", "perplexity")))

    def left(self) -> float:
        """Seconds; pretrainings one after the other, the rest side by side."""
        alone = shared = 0.0
        for key, plan in self._left.items():
            rest = 1.0 - self._share.get(key, 0.0)
            if plan.kind == "pretraining":
                alone += 60 * self._pretraining(plan) * rest
            else:
                shared += self._cost(plan) * rest
        return alone + shared / self._workers

    def _cost(self, plan: Plan) -> float:
        seen = self._seen.get(self._kind(plan))
        return sum(seen) / len(seen) if seen else GUESS.get(plan.how, 5.0)

    def _pretraining(self, plan: Plan) -> float:
        """Minutes: the recipe's own; none for weights that are taken as they are."""
        config = plan.config if isinstance(plan.config, Mapping) else {}
        own = config.get("limits", {}).get("minutes")
        return own or (0.0 if "source" in config else self._minutes)

    def _kind(self, plan: Plan) -> str:
        return f"{plan.kind}/{plan.rung}/{plan.how}/{plan.labels}"


def told(cell: Cell) -> str:
    """What came of a cell, in a few words."""
    if cell.failed:
        return f"failed: {cell.failed}"
    if cell.kind == "pretraining":
        return seconds_text(cell.seconds["pretraining"]) if cell.seconds else "taken as it is"
    if cell.kind == "encoding":
        return seconds_text(cell.seconds.get("encoding"))
    if cell.kind == "language":
        return f"perplexity {cell.scores['perplexity']:,.1f}"
    return f"{100 * cell.scores['accuracy']:.1f} %"


class LineWatch:
    """A line now and then, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None, *, every: float = 15.0) -> None:
        self._stream, self._every, self._next = stream or sys.stderr, every, 0.0
        self._estimate: Estimate | None = None

    def begin(self, todo: Sequence[Plan], finished: int, minutes: float, workers: int) -> None:
        self._estimate = Estimate(todo, minutes, workers)
        self._line(f"{len(todo)} cells to run, {finished} there already; about {seconds_text(self._estimate.left())}")

    def started(self, plan: Plan) -> None:
        if plan.kind == "pretraining":
            self._line(plan.label)

    def news(self, plan: Plan, text: str, share: float) -> None:
        if self._estimate:
            self._estimate.news(plan, share)
        if time.monotonic() >= self._next:
            self._line(f"{plan.label}: {text}{self._left()}")

    def ended(self, plan: Plan, cell: Cell) -> None:
        if self._estimate:
            self._estimate.ended(plan, cell)
        self._line(f"{plan.label}: {told(cell)}{self._left()}")

    def say(self, text: str) -> None:
        self._line(text)

    def close(self) -> None:
        """Nothing is open."""

    def _left(self) -> str:
        return f"  ({seconds_text(self._estimate.left())} left)" if self._estimate else ""

    def _line(self, text: str) -> None:
        self._next = time.monotonic() + self._every
        print(text, file=self._stream, flush=True)


class LiveWatch:
    """One live block on a terminal: a bar for everything, and a line for each running cell."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._estimate: Estimate | None = None
        self._whole: Any = None
        self._rows: dict[str, Any] = {}

    def begin(self, todo: Sequence[Plan], finished: int, minutes: float, workers: int) -> None:
        self._estimate = Estimate(todo, minutes, workers)
        self._progress.start()
        name = f"{len(todo)} cells" + (f", {finished} there already" if finished else "")
        self._whole = self._progress.add_task(name, total=1.0, note="")
        self._refresh()

    def started(self, plan: Plan) -> None:
        self._rows[plan.key] = self._progress.add_task(plan.label, total=1.0, note="")

    def news(self, plan: Plan, text: str, share: float) -> None:
        if plan.key in self._rows:
            self._progress.update(self._rows[plan.key], completed=share, note=text[:70])
        if self._estimate:
            self._estimate.news(plan, share)
        self._refresh()

    def ended(self, plan: Plan, cell: Cell) -> None:
        if plan.key in self._rows:
            self._progress.remove_task(self._rows.pop(plan.key))
        if self._estimate:
            self._estimate.ended(plan, cell)
        self.say(f"{plan.label}: {told(cell)}")
        self._refresh()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()

    def _refresh(self) -> None:
        if self._estimate and self._whole is not None:
            left = self._estimate.left()
            share = 1 - left / max(self._estimate.whole, left, 1e-9)
            self._progress.update(self._whole, completed=share, note=f"about {seconds_text(left)} left")


def choose_watch() -> LadderWatch:
    """A live block on a terminal, lines elsewhere."""
    return LiveWatch() if sys.stderr.isatty() else LineWatch()
