"""Which phase an update belongs to, and where its data comes from: one source a phase, or prepared ahead."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from foretext.training.config import Phase
from foretext.types import Batch


class BatchSource(Protocol):
    """Training data by update number alone; `training.source.Batches` is one."""

    def step(self, step: int) -> Sequence[Batch]:
        """The micro-batches (numpy) of update `step`, counted from 0."""
        ...


def starts(phases: Sequence[Phase], total: int) -> list[int]:
    """The first update of each phase and, last, `total`: `total` split in proportion to the shares, rounded."""
    whole = sum(phase.share for phase in phases)
    assert whole > 0, "phases need a positive share"
    edges, seen = [0], 0.0
    for phase in phases:
        seen += phase.share
        edges.append(round(total * seen / whole))
    return edges


def phase_at(edges: Sequence[int], step: int) -> int:
    """The phase of update `step`: the one whose stretch it lies in; past the end, the last that has any."""
    last = 0
    for number in range(len(edges) - 1):
        if edges[number] < edges[number + 1]:
            last = number
            if step < edges[number + 1]:
                break
    return last


class PhasedBatches:
    """One source a phase, each read from its own beginning. Final.

    `total` is the run's planned number of updates; it may be set until the first update is read.
    """

    def __init__(self, sources: Sequence[BatchSource], phases: Sequence[Phase], total: int) -> None:
        assert len(sources) == len(phases), f"{len(sources)} sources for {len(phases)} phases"
        self.total = total
        self._sources, self._phases = list(sources), list(phases)

    def step(self, step: int) -> Sequence[Batch]:
        """The micro-batches (numpy) of update `step`, from its phase's source."""
        edges = starts(self._phases, self.total)
        number = phase_at(edges, step)
        return self._sources[number].step(step - edges[number])


class Ahead:
    """Prepares the next update's data in a thread while this one computes, for accelerators. Final.

    Data is a pure function of the update's number, so nothing but waiting time changes. `source` is used by one thread
    at a time.
    """

    def __init__(self, source: BatchSource) -> None:
        self._source = source
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[Sequence[Batch]]] | None = None

    def step(self, step: int) -> Sequence[Batch]:
        """The micro-batches (numpy) of update `step`."""
        ready = self._next if self._next is not None and self._next[0] == step else None
        future = ready[1] if ready else self._pool.submit(self._made, step)
        self._next = (step + 1, self._pool.submit(self._made, step + 1))
        return future.result()

    def _made(self, step: int) -> Sequence[Batch]:
        return list(self._source.step(step))  # a source may prepare a micro-batch only when it is asked for
