"""The torch Stepper: forward, backward, clip, update; for every family and every strategy that learns by gradient.

The gradient of an update is that of Σ_h weight_h · (Σ losses of head h) / (targets of head h in the whole update), so
any split into micro-batches gives the same gradient. Parameters and optimizer state are fp32 whatever the precision.
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
from foretext.training.run import NonFiniteStep
from foretext.training.schedules import factor
from foretext.types import Batch, Report, State


class Gradient:
    """A Stepper over a `Model`. Final.

    `batches` gives the micro-batches of an update by its number; `held_out`: fixed batches (numpy) for `evaluate`.
    `total` (updates) may be set anew until the first step, as a time budget needs after its trial.
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
    ) -> None:
        self.total = total
        self.device = torch.device(device)
        self.model = model.to(self.device)
        self.done = 0
        """Updates made."""
        self.updating = False
        """Whether parameters or their optimizer state are being changed, or have been by the step that just ended."""
        self._batches = Ahead(batches) if self.device.type == "cuda" else batches
        self._held_out = held_out
        self._optimizer, self._schedule, self._phases, self._seed = optimizer, schedule, tuple(phases), seed
        self._bf16 = precision == "bf16"
        self._updater = Updater(optimizer, model, self._phases)
        self._losses = torch.compile(model.losses) if compile else model.losses

    # ── learning ──

    def step(self) -> Report:
        """One update. NonFiniteStep (a DivergedError) leaves parameters and optimizer state as they were."""
        self.updating = False
        share = factor(self._schedule, self.done / self.total, self.total)
        self._updater.prepare(phase_at(starts(self._phases, self.total), self.done), share)
        if not self.model.training:
            self.model.train()
        micros = self._batches.step(self.done)
        counts = target_counts(micros)
        self._updater.clear()
        sums: dict[str, Tensor] = {}
        for index, micro in enumerate(micros):
            self._reseed(index)
            for name, value in self._accumulate(to_torch(micro, self.device), counts).items():
                sums[name] = sums[name] + value if name in sums else value
        grads = [p.grad for p in self._updater.trained if p.grad is not None]
        norm, *values = _numbers([_norm(grads, self.device), *sums.values()])
        if not all(map(math.isfinite, (norm, *values))):
            self._updater.clear()
            raise NonFiniteStep(_complaint(norm, dict(zip(sums, values, strict=True))), arrays=dump(micros))
        clip = self._optimizer.clip
        if clip is not None and norm > clip:
            torch._foreach_mul_(grads, clip / norm)
        self.updating = True
        self._updater.step()
        self._updater.clear()
        self.done += 1
        parts = {name: value / counts[name] for name, value in zip(sums, values, strict=True) if counts[name]}
        return Report(
            loss=self._weighted(parts),
            count=sum(counts.values()),
            tokens=real_tokens(micros),
            done=self.done / self.total,
            parts={f"{name} loss": value for name, value in parts.items()},
            norm=norm,
            rate=self._optimizer.rate * share,
        )

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

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On the held-out batches, without dropout: "loss" (weighted total, nats a target), and a head's "… loss",
        "… accuracy" where the head measures it, and "… count" (targets)."""
        training = self.model.training
        self.model.eval()
        sums: dict[str, float] = {}
        correct: dict[str, float] = {}
        try:
            for batch in self._held_out:
                moved = to_torch(batch, self.device)
                with self._autocast():
                    vectors = self.model(moved)
                    losses = self.model.losses(moved, vectors)
                    measures = self.model.measures(moved, vectors)
                for name, value in zip(losses, _numbers(list(losses.values())), strict=True):
                    sums[name] = sums.get(name, 0.0) + value
                for name, measured in measures.items():
                    if "correct" in measured:
                        correct[name] = correct.get(name, 0.0) + float(measured["correct"])
        finally:
            self.model.train(training)
        counts = target_counts(self._held_out)
        means = {name: value / counts[name] for name, value in sums.items() if counts[name]}
        found = {"loss": self._weighted(means)} if means else {}
        for name, mean in means.items():
            found[f"{name} loss"] = mean
            if name in correct:
                found[f"{name} accuracy"] = correct[name] / counts[name]
            found[f"{name} count"] = counts[name]
        return found

    # ── saving ──

    def state(self) -> State:
        """Parameters, optimizer state and the number of updates made; copies, so it stays what it is."""
        arrays = {**self.model.arrays(), **self._updater.arrays()}
        return State(arrays=arrays, cursor={"step": self.done, "total": self.total, "seed": self._seed})

    def restore(self, state: State) -> None:
        """Go on from `state`, to the bit. ArtefactError where it belongs to another model, length or seed."""
        for name, mine in (("total", self.total), ("seed", self._seed)):
            if state.cursor[name] != mine:
                raise ArtefactError(
                    f"the state is of a run with {name} {state.cursor[name]}, this one has {mine}",
                    remedy="resume with the settings that the run was started with",
                )
        own = {name: array for name, array in state.arrays.items() if not name.startswith("optimizer.")}
        self.model.load(own)
        self._updater.load(state.arrays)
        self.done = state.cursor["step"]


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


def _norm(grads: list[Tensor], device: torch.device) -> Tensor:
    """L2 over all gradients together."""
    if not grads:
        return torch.zeros((), device=device)
    whole: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
    return whole


def _numbers(scalars: list[Tensor]) -> list[float]:
    """Scalars as numbers, with a single wait for the device."""
    return [float(x) for x in torch.stack([s.detach().double() for s in scalars]).tolist()] if scalars else []


def _complaint(norm: float, sums: Mapping[str, float]) -> str:
    bad = [f"the {name} loss is {value}" for name, value in sums.items() if not math.isfinite(value)]
    return ", ".join(bad) or f"the gradient's norm is {norm}"
