"""How one update is divided over processes (ranks), and what they must tell one another for that.

P parameters' numbers · N ranks. An update is divided three times:

1. its micro-batches: each rank computes the gradient of a few of them, with the target counts of all as denominators;
2. its parameters: each has an owner, which sums the N gradients of it and makes its update (so the optimizer's work and
   its state are divided, not repeated: Rajbhandari et al. 2020, arXiv 1910.02054, "ZeRO", stage 1);
3. nothing else: rows, masks and dropout follow from the update's number and the micro-batch's, whoever computes them.

On one machine the parameters lie in memory that all ranks share, so a new value is everybody's at once, and gradients
are read where their rank wrote them: a third of the processor time of an all-reduce by sockets (docs/LOG.md). Ranks on
several machines would keep copies, and answer `sum_gradients` by a reduce-scatter and the end of an update by an
all-gather; nothing above this file would change.
"""

import mmap
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import Parameter

from foretext.training.model import Model, named_tensors
from foretext.training.optimizers import Updater
from foretext.types import JSON, Arrays

ALIGNED = 16
"""Numbers: every tensor starts at a multiple of 64 bytes, a cache line and a vector register."""
NUMBER = 4
"""Bytes of a number; parameters and gradients are fp32."""


class Ranks(Protocol):
    """One rank's view of all. Every rank makes the same calls in the same order, between two orders."""

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def order(self, name: str, arrays: Arrays | None = None, **told: JSON) -> None:
        """Rank 0: what all do next, and what for that must be known. The others: nothing."""
        ...

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """Every rank's `values` (equally many), in the ranks' order; also a meeting: nobody leaves before all came."""
        ...

    def collect(self, arrays: Arrays) -> list[Arrays]:
        """Rank 0: every rank's arrays. The others: their own."""
        ...

    def adopt(self, model: Model, updater: Updater) -> None:
        """Make `model`'s values one with rank 0's, and settle who owns what."""
        ...

    def own(self, arrays: Arrays) -> Arrays:
        """What of the optimizer's state ("optimizer.<parameter>.<slot>") is this rank's to keep."""
        ...

    def sum_gradients(self, trained: Sequence[Parameter]) -> None:
        """Own parameters get the sum of all ranks' gradients (None where no rank has one), the others None, so that
        the optimizer passes over them."""
        ...


class Alone:
    """One process: nobody to tell, nothing to divide."""

    rank, size = 0, 1

    def order(self, name: str, arrays: Arrays | None = None, **told: JSON) -> None:
        """Nothing."""

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """[values]"""
        return [list(values)]

    def collect(self, arrays: Arrays) -> list[Arrays]:
        """[arrays]"""
        return [arrays]

    def adopt(self, model: Model, updater: Updater) -> None:
        """Nothing."""

    def own(self, arrays: Arrays) -> Arrays:
        """All."""
        return arrays

    def sum_gradients(self, trained: Sequence[Parameter]) -> None:
        """Nothing."""


ALONE = Alone()


def share(count: int, ranks: Ranks) -> range:
    """Which of `count` things in a row are this rank's: a stretch of them, all stretches equally long or nearly."""
    return range(ranks.rank * count // ranks.size, (ranks.rank + 1) * count // ranks.size)


def owners(costs: dict[str, float], size: int) -> dict[str, int]:
    """Each parameter's owner: the dearest first, to the rank that has least to do so far."""
    load = [0.0] * size
    found = {}
    for name in sorted(costs, key=lambda name: -costs[name]):  # stable: equal costs stay in the model's order
        found[name] = load.index(min(load))
        load[found[name]] += costs[name]
    return found


class SharedMemory(ABC):
    """What ranks on one machine do alike: P numbers of parameters and N × P of gradients, in a file in memory.

    `memory`: its descriptor, the same file for all ranks. A rank's gradients of its own parameters never leave it, so
    of each rank's P places about P / N stay untouched and cost no memory.
    """

    def __init__(self, rank: int, size: int, memory: int) -> None:
        self.rank, self.size, self._memory = rank, size, memory
        self._owner: dict[str, int] = {}
        self._mine: set[Tensor] = set()
        self._gradients: list[dict[Tensor, Tensor]] = []

    @abstractmethod
    def gather(self, values: Sequence[float]) -> list[list[float]]: ...

    def adopt(self, model: Model, updater: Updater) -> None:
        """Rank 0's values become everybody's: each tensor of `model` is moved into the shared memory."""
        tensors = list(named_tensors(model).values())
        assert all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors), "shared numbers are fp32, on the CPU"
        starts = _starts(tensors)
        length = starts[-1]
        whole = NUMBER * length * (1 + self.size)
        if self.rank == 0:
            os.ftruncate(self._memory, max(whole, os.fstat(self._memory).st_size))  # never less: an older map may live
            self._place(tensors, starts, whole, copy=True)
        lengths = self.gather([length])
        assert all(theirs == [length] for theirs in lengths), f"the ranks built different models: {lengths}"
        if self.rank:
            self._place(tensors, starts, whole, copy=False)
        self._owner = owners(updater.costs(), self.size)
        self._mine = {p for name, p in model.named_parameters() if self._owner.get(name) == self.rank}

    def _place(self, tensors: Sequence[Tensor], starts: Sequence[int], whole: int, *, copy: bool) -> None:
        memory = torch.frombuffer(mmap.mmap(self._memory, whole), dtype=torch.float32)
        parts = memory.view(1 + self.size, -1)
        places = [
            {t: part[start : start + t.numel()].view(t.shape) for t, start in zip(tensors, starts, strict=False)}
            for part in parts
        ]
        for tensor, place in places[0].items():
            if copy:
                place.copy_(tensor.detach())
            tensor.data = place
        self._gradients = places[1:]

    def own(self, arrays: Arrays) -> Arrays:
        """The slots of own parameters; rank 0 also keeps what belongs to no parameter, to complain of it."""
        parameter = {name: name.removeprefix("optimizer.").rpartition(".")[0] for name in arrays}
        return {name: array for name, array in arrays.items() if self._owner.get(parameter[name], 0) == self.rank}

    def sum_gradients(self, trained: Sequence[Parameter]) -> None:
        """Write what others own, meet, and add up what is one's own: always in the same order, so runs repeat."""
        for p in trained:
            if p.grad is not None and p not in self._mine:
                self._gradients[self.rank][p].copy_(p.grad)
        written = self.gather([float(p.grad is not None) for p in trained])
        for number, p in enumerate(trained):
            if p not in self._mine:
                p.grad = None
                continue
            for rank in range(self.size):
                if rank != self.rank and written[rank][number]:
                    theirs = self._gradients[rank][p]
                    p.grad = theirs.clone() if p.grad is None else p.grad.add_(theirs)


def _starts(tensors: Iterable[Tensor]) -> list[int]:
    """Where each tensor starts in a row of them, and the row's length."""
    starts = [0]
    for tensor in tensors:
        starts.append(starts[-1] + -(-tensor.numel() // ALIGNED) * ALIGNED)
    return starts
