"""The torch Stepper: forward, backward, clip, update; for every family and every strategy that learns by gradient.

The gradient of an update is that of Σ_h weight_h · (Σ losses of head h) / (targets of head h in the whole update), so
any split into micro-batches, and of these over processes (`training.ranks`), gives the same gradient. Parameters and
optimizer state are fp32 whatever the precision.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from foretext.data.batches import to_torch
from foretext.draws import number
from foretext.errors import ArtefactError
from foretext.training.config import OptimizerConfig, Phase, ScheduleConfig
from foretext.training.model import Model
from foretext.training.optimizers import Updater
from foretext.training.phases import Ahead, BatchSource, phase_at, starts
from foretext.training.ranks import ALONE, Ranks, share
from foretext.training.run import NonFiniteStep
from foretext.training.schedules import factor
from foretext.types import Arrays, Batch, Report, State


class Gradient:
    """A Stepper over a `Model`. Final.

    `batches` gives the micro-batches of an update by its number; `held_out`: fixed batches (numpy) for `evaluate`.
    `total` (updates) may be set anew until the first step, as a time budget needs after its trial. `ranks`: the
    processes that share each update; on a rank other than 0 only `step`, `scores`, `slots` and `hold` are called.
    """

    def __init__(
        self,
        model: Model,
        batches: BatchSource,
        *,
        total: int,
        held_out: Sequence[Batch] = (),
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        phases: Sequence[Phase] = (Phase(),),
        precision: Literal["fp32", "bf16"] = "fp32",
        compile: bool = False,
        seed: int = 0,
        device: torch.device | str = "cpu",
        ranks: Ranks = ALONE,
    ) -> None:
        self.total = total
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.done = 0
        """Updates made."""
        self.updating = False
        """Whether some rank may be changing parameters or optimizer state, or has done so in the step that just ended."""
        self._batches = Ahead(batches) if self.device.type == "cuda" else batches
        self._held_out = held_out
        self._optimizer, self._schedule, self._phases, self._seed = optimizer, schedule, tuple(phases), seed
        self._bf16 = precision == "bf16"
        self._updater = Updater(optimizer, model, self._phases)
        self._ranks = ranks
        ranks.adopt(model, self._updater)
        self._losses = torch.compile(model.losses) if compile else model.losses

    # ── learning ──

    def step(self) -> Report:
        """One update. NonFiniteStep (a DivergedError) leaves parameters and optimizer state as they were."""
        self.updating = False
        self._ranks.order("step", done=self.done, total=self.total)
        rate = factor(self._schedule, self.done / self.total, self.total)
        self._updater.prepare(phase_at(starts(self._phases, self.total), self.done), rate)
        if not self.model.training:
            self.model.train()
        micros = self._batches.step(self.done)
        mine = {index: micros[index] for index in share(len(micros), self._ranks)}
        counts, tokens = self._counted(list(mine.values()))
        self._updater.clear()
        sums: dict[str, Tensor] = {}
        for index, micro in mine.items():
            self._reseed(index)
            for name, value in self._accumulate(to_torch(micro, self.device), counts).items():
                sums[name] = sums[name] + value if name in sums else value
        self._ranks.sum_gradients(self._updater.trained)
        grads = [p.grad for p in self._updater.trained if p.grad is not None]
        self.updating = True  # once they hear the totals, the other ranks update, whatever this one does
        norm, losses = self._totals(grads, sums)
        if not all(map(math.isfinite, (norm, *losses.values()))):
            self.updating = False
            self._updater.clear()
            raise NonFiniteStep(_complaint(norm, losses), arrays=dump(micros))
        clip = self._optimizer.clip
        if grads and clip is not None and norm > clip:  # a rank may own no parameter of this phase
            torch._foreach_mul_(grads, clip / norm)
        self._updater.step()
        self._updater.clear()
        self._ranks.gather([])  # every rank's parameters are new now
        self.done += 1
        parts = {name: value / counts[name] for name, value in losses.items() if counts[name]}
        return Report(
            loss=self._weighted(parts),
            count=sum(counts.values()),
            tokens=tokens,
            done=self.done / self.total,
            parts={f"{name} loss": value for name, value in parts.items()},
            norm=norm,
            rate=self._optimizer.rate * rate,
        )

    def _counted(self, mine: Sequence[Batch]) -> tuple[dict[str, int], int]:
        """Each head's targets in the whole update, and its real tokens, whichever rank has them."""
        counts = target_counts(mine)
        rows = self._ranks.gather([real_tokens(mine), *(counts.get(name, 0) for name in self.model.weights)])
        tokens, *totals = (int(sum(column)) for column in zip(*rows, strict=True))
        return dict(zip(self.model.weights, totals, strict=True)), tokens

    def _totals(self, grads: list[Tensor], sums: Mapping[str, Tensor]) -> tuple[float, dict[str, float]]:
        """The norm of the whole gradient, of which `grads` are this rank's part, and every head's summed loss. The same bits
        whatever the number of ranks: every parameter's norm is one rank's, and their sum is rounded once (fsum)."""
        none = torch.zeros((), device=self.device)
        norms = torch._foreach_norm(grads) if grads else ()
        numbers = _numbers([*norms, *(sums.get(n, none) for n in self.model.weights)])
        parameters = len(self._updater.trained)
        others = [0.0] * (parameters - len(grads))
        rows = self._ranks.gather([*others, *numbers])
        norm = math.sqrt(math.fsum(norm * norm for row in rows for norm in row[:parameters]))
        losses = zip(*(row[parameters:] for row in rows), strict=True)
        return norm, dict(zip(self.model.weights, map(sum, losses), strict=True))

    def _accumulate(self, micro: Batch, counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Add one micro-batch's gradient; its heads' summed losses, detached."""
        with self._autocast():
            sums = self._losses(micro)
        shares = [self.model.weights[name] / counts[name] * value for name, value in sums.items() if counts[name]]
        whole = sum(shares[1:], shares[0]) if shares else None
        if whole is not None and whole.requires_grad:
            whole.backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in sums.items()}

    def _reseed(self, micro: int) -> None:
        # Dropout depends on (seed, update, micro-batch) alone, so no random state needs saving. The generators are
        # seeded directly: torch.manual_seed also walks devices that nobody uses.
        seed = number(self._seed, "dropout", self.done, micro)
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bf16)

    def _weighted(self, means: Mapping[str, float]) -> float:
        return sum(self.model.weights[name] * value for name, value in means.items())

    # ── looking ──

    def evaluate(self) -> dict[str, float]:
        """On the held-out batches, without dropout: "loss" (weighted total, nats a target), and a head's "… loss",
        "… accuracy" where the head measures it, and "… count" (targets)."""
        self._ranks.order("evaluate")
        columns = np.array(self._ranks.gather(self.scores())).sum(0).reshape(-1, 3)
        counts = target_counts(self._held_out)
        scored = {n: column for n, column in zip(self.model.weights, columns.tolist(), strict=True) if counts.get(n)}
        means = {name: total / counts[name] for name, (total, _, _) in scored.items()}
        found = {"loss": self._weighted(means)} if means else {}
        for name, (_, correct, measured) in scored.items():
            found[f"{name} loss"] = means[name]
            if measured:
                found[f"{name} accuracy"] = correct / counts[name]
            found[f"{name} count"] = counts[name]
        return found

    @torch.no_grad()
    def scores(self) -> list[float]:
        """Of each head, over this rank's held-out batches: the summed loss, correct answers, batches measured."""
        training = self.model.training
        self.model.eval()
        found = {name: [0.0, 0.0, 0.0] for name in self.model.weights}
        try:
            for index in share(len(self._held_out), self._ranks):
                moved = to_torch(self._held_out[index], self.device)
                with self._autocast():
                    vectors = self.model(moved)
                    losses = self.model.losses(moved, vectors)
                    measures = self.model.measures(moved, vectors)
                for name, value in zip(losses, _numbers(list(losses.values())), strict=True):
                    found[name][0] += value
                for name, measured in measures.items():
                    if "correct" in measured:
                        found[name][1] += float(measured["correct"])
                        found[name][2] += 1
        finally:
            self.model.train(training)
        return [value for values in found.values() for value in values]

    # ── saving ──

    def state(self) -> State:
        """Parameters, optimizer state and the number of updates made; copies, so it stays what it is."""
        self._ranks.order("state")
        arrays = {**self.model.arrays()}
        for part in self._ranks.collect(self.slots()):
            arrays.update(part)
        return State(arrays=arrays, cursor={"step": self.done, "total": self.total, "seed": self._seed})

    def restore(self, state: State) -> None:
        """Go on from `state`, to the bit. ArtefactError where it belongs to another model, length or seed."""
        for name, mine in (("total", self.total), ("seed", self._seed)):
            if state.cursor[name] != mine:
                raise ArtefactError(
                    f"the state is of a run with {name} {state.cursor[name]}, this one has {mine}",
                    remedy="resume with the settings that the run was started with",
                )
        slots = {name: array for name, array in state.arrays.items() if name.startswith("optimizer.")}
        self._ranks.order("restore", slots)
        self._ranks.gather([])  # from here on nobody is still busy with an update that was abandoned
        self.model.load({name: array for name, array in state.arrays.items() if name not in slots})
        self.hold(slots)
        self.done = state.cursor["step"]

    def slots(self) -> Arrays:
        """The optimizer's state, as far as it is this rank's; copies."""
        return self._updater.arrays()

    def hold(self, slots: Arrays) -> None:
        """Take over the optimizer's state, as far as it is this rank's."""
        self._updater.load(self._ranks.own(slots))


def target_counts(batches: Sequence[Batch]) -> dict[str, int]:
    """Each head's counted targets over `batches`."""
    counts: dict[str, int] = {}
    for batch in batches:
        for name, target in batch.targets.items():
            counts[name] = counts.get(name, 0) + int(target.count)
    return counts


def real_tokens(batches: Sequence[Batch]) -> int:
    """Tokens of all views that are not padding (numpy batches)."""
    return sum(int(np.count_nonzero(view.sequence >= 0)) for batch in batches for view in batch.views.values())


def dump(batches: Sequence[Batch]) -> dict[str, np.ndarray[Any, Any]]:
    """What a batch holds, for a person to look into: "micro-0/text/ids", "micro-0/masked/gold", …"""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for index, batch in enumerate(batches):
        for name, view in batch.views.items():
            for field in ("ids", "sequence", "position", "bounds", "segment"):
                if getattr(view, field) is not None:
                    arrays[f"micro-{index}/{name}/{field}"] = np.asarray(getattr(view, field))
        for name, target in batch.targets.items():
            for field in ("at", "gold", "weight"):
                if getattr(target, field) is not None:
                    arrays[f"micro-{index}/{name}/{field}"] = np.asarray(getattr(target, field))
    return arrays


def _numbers(scalars: list[Tensor]) -> list[float]:
    """Scalars as numbers, with a single wait for the device."""
    return [float(x) for x in torch.stack([s.detach().double() for s in scalars]).tolist()] if scalars else []


def _complaint(norm: float, sums: Mapping[str, float]) -> str:
    bad = [f"the {name} loss is {value}" for name, value in sums.items() if not math.isfinite(value)]
    return ", ".join(bad) or f"the gradient's norm is {norm}"
