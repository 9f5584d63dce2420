"""The training data of a run, by update number: `Batches(...).step(n)` needs nothing of what came before.

The epochs' rows stand in one endless line; update n reads rows n·rows … (n+1)·rows of it. So resuming is one number.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from foretext.data.plan import Plan, join
from foretext.data.windows import Store, Windows
from foretext.errors import DataError
from foretext.objectives import Objective
from foretext.types import Batch

KEPT = 3  # plans kept: an update may end one block and begin the next


class Micros(Sequence[Batch]):
    """The micro-batches of one update, each prepared when it is asked for: a process prepares no other's share."""

    def __init__(self, edges: Sequence[int], prepare: Callable[[int, int], Batch]) -> None:
        self._edges, self._prepare = edges, prepare

    def __len__(self) -> int:
        return len(self._edges) - 1

    @overload
    def __getitem__(self, number: int) -> Batch: ...
    @overload
    def __getitem__(self, number: slice) -> list[Batch]: ...
    def __getitem__(self, number: int | slice) -> Batch | list[Batch]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        place = range(len(self))[number]
        return self._prepare(self._edges[place], self._edges[place + 1])


class Batches:
    """Micro-batches of every update of a run, and a fixed held-out set. Final."""

    def __init__(
        self,
        store: Store,
        windows: Windows,
        objectives: Sequence[Objective],
        *,
        rows: int,
        micro: int | None = None,
        parts: int | None = None,
    ) -> None:
        """`rows`: rows of one update; `micro`: most rows of one forward pass (None: all); `parts`: micro-batches of one
        update (None: as few as `micro` allows). DataError when the store's training part has no token, or when no pair
        can be made of it."""
        self.store, self.windows, self.objectives = store, windows, list(objectives)
        self.rows, self.micro = rows, micro or rows
        self.parts = parts or fewest_parts(rows, micro)
        assert fewest_parts(rows, micro) <= self.parts <= rows, f"{self.parts} parts of {rows} rows, at most {micro} each"
        self._words = any(objective.words for objective in objectives)
        self._plans: dict[tuple[int, int], Plan] = {}
        self._counts: dict[tuple[int, int], int] = {}
        self._starts = [0]  # first row of each block of the endless line, as far as known, and the end of the last
        self._blocks = windows.blocks(store, False)
        if not self._blocks:
            raise DataError("the corpus has no text to train on", remedy="give a corpus with at least one word")

    def step(self, step: int) -> Micros:
        """The micro-batches of update `step` (from 0), numpy; of nearly equal size, each at most `micro` rows."""
        edges = [step * self.rows + i * self.rows // self.parts for i in range(self.parts + 1)]
        return Micros(edges, self._batch)

    def epoch(self, step: int) -> float:
        """Epochs done when update `step` begins, to the block's share."""
        block, row = self._find(step * self.rows)
        return (block + row / (self._starts[block + 1] - self._starts[block])) / self._blocks

    @property
    def steps_per_epoch(self) -> float:
        """Updates of the first epoch (epochs of pairs differ by a few rows). Plans every block once to know."""
        self._know(self._blocks)
        return self._starts[self._blocks] / self.rows

    def tokens_per_row(self) -> float:
        """Corpus tokens of a row, on average over the first block."""
        plan = self._plan(0, 0)
        return plan.tokens / len(plan)

    def held_out_batches(self, most: int) -> list[Batch]:
        """At most `most` batches of `micro` rows from the held-out part, always the same; empty when nothing is held
        out. Their masks are drawn once, whatever `copies` says."""
        plans: list[Plan] = []
        wanted = most * self.micro
        for block in range(self.windows.blocks(self.store, True)):
            plan = self.windows.plan(self.store, True, 0, block)
            assert plan is not None
            plans.append(plan)
            if sum(map(len, plans)) >= wanted:
                break
        if not plans:
            return []
        plan = join(plans)
        count = min(len(plan), wanted)
        pieces = [np.arange(first, min(first + self.micro, count)) for first in range(0, count, self.micro)]
        return [self._prepare([(plan.select(piece), 0)]) for piece in pieces]

    def _batch(self, first: int, last: int) -> Batch:
        """Rows [first, last) of the endless line, prepared."""
        parts: list[tuple[Plan, int]] = []
        while first < last:
            block, row = self._find(first)
            epoch, place = divmod(block, self._blocks)
            plan = self._plan(epoch, place)
            count = min(last - first, len(plan) - row)
            parts.append((plan.select(np.arange(row, row + count)), epoch))
            first += count
        return self._prepare(parts)

    def _prepare(self, parts: Sequence[tuple[Plan, int]]) -> Batch:
        """One batch of plans and their epochs: each row's masks are those of its own epoch."""
        keys = np.concatenate([self.windows.keys(plan, epoch) for plan, epoch in parts])
        batch = self.windows.take(self.store, join([plan for plan, _ in parts]), words=self._words)
        self.store.let_go()
        for objective in self.objectives:
            batch = objective.prepare(batch, keys)
        names = {objective.name for objective in self.objectives}
        return Batch(views=batch.views, targets={n: t for n, t in batch.targets.items() if n in names})

    def _plan(self, epoch: int, place: int) -> Plan:
        if (epoch, place) not in self._plans:
            plan = self.windows.plan(self.store, False, epoch, place)
            assert plan is not None and len(plan)
            while len(self._plans) >= KEPT:
                del self._plans[next(iter(self._plans))]
            self._plans[epoch, place] = plan
        return self._plans[epoch, place]

    def _find(self, row: int) -> tuple[int, int]:
        """The block of the endless line in which a row stands, and the row's number in it."""
        while self._starts[-1] <= row:
            self._know(len(self._starts))
        block = bisect_right(self._starts, row) - 1
        return block, row - self._starts[block]

    def _know(self, blocks: int) -> None:
        """Count the rows of the endless line's first `blocks` blocks; a block of a static copy is counted once."""
        while len(self._starts) <= blocks:
            epoch, place = divmod(len(self._starts) - 1, self._blocks)
            key = self.windows.counted_as(self.store, False, epoch, place)
            if key not in self._counts:
                self._counts[key] = len(self._plan(epoch, place))
            self._starts.append(self._starts[-1] + self._counts[key])


def fewest_parts(rows: int, micro: int | None) -> int:
    """Micro-batches that an update of `rows` rows needs at least, at most `micro` rows each (None: all at once)."""
    return -(-rows // (micro or rows))
