"""From gradients to updates: the optimizers, and which parameter gets which rate, decay and rule.

Shapes: every optimizer slot has its parameter's shape (Adam's step count: a scalar).
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import Parameter

from foretext.errors import ArtefactError, UsageError
from foretext.training.config import OptimizerConfig, Phase
from foretext.training.model import Model
from foretext.types import Arrays


class _Plain(torch.optim.Optimizer):
    """torch keeps its compiler away from an optimizer by importing it, which would take two seconds of every run. Nothing
    here compiles an optimizer: the methods inside those guards are enough."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


class AdamBert(_Plain):
    """Adam as BERT was trained: `AdamWeightDecayOptimizer` of google-research/bert `optimization.py`.

    No bias correction (early steps are larger than Kingma & Ba's), epsilon outside the root, decay added to the
    update before the rate: p ← p − rate · (m / (√v + ε) + decay · p). Slots: `m`, `v`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "closures are not used here"
        for group in self.param_groups:
            chosen = [p for p in group["params"] if p.grad is not None]
            if not chosen:
                continue
            for p in chosen:
                if not self.state[p]:
                    self.state[p] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}
            grads = [p.grad for p in chosen]
            m = [self.state[p]["m"] for p in chosen]
            v = [self.state[p]["v"] for p in chosen]
            (beta1, beta2), rate = group["betas"], group["lr"]
            torch._foreach_mul_(m, beta1)
            torch._foreach_add_(m, grads, alpha=1.0 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, grads, grads, 1.0 - beta2)
            below = torch._foreach_sqrt(v)
            torch._foreach_add_(below, group["eps"])
            if group["weight_decay"]:
                torch._foreach_mul_(chosen, 1.0 - rate * group["weight_decay"])
            torch._foreach_addcdiv_(chosen, m, below, -rate)


class Muon(_Plain):
    """Momentum orthogonalised by Newton–Schulz, for hidden matrices [out, in] (Jordan et al. 2024, "Muon").

    Nesterov momentum, five quintic iterations towards the nearest semi-orthogonal matrix, and Jordan's scale
    √max(1, out/in), so that `lr` is about the spectral size of the update whatever the shape; decoupled decay. Matrices
    of one shape go through the iteration together. Slot: `momentum`.
    """

    def __init__(
        self, params: Iterable[Any], *, lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "closures are not used here"
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(p.shape, []).append(p)
            for shape, chosen in by_shape.items():
                self._update(chosen, group, math.sqrt(max(1.0, shape[0] / shape[1])))

    def _update(self, chosen: list[Tensor], group: Mapping[str, Any], scale: float) -> None:
        for p in chosen:
            if not self.state[p]:
                self.state[p] = {"momentum": torch.zeros_like(p)}
        grads = [p.grad for p in chosen if p.grad is not None]
        momentum = [self.state[p]["momentum"] for p in chosen]
        torch._foreach_lerp_(momentum, grads, 1.0 - group["momentum"])
        ahead = torch._foreach_lerp(grads, momentum, group["momentum"])
        direction = orthogonalize(torch.stack(ahead))
        if group["weight_decay"]:
            torch._foreach_mul_(chosen, 1.0 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(chosen, list(direction.unbind()), alpha=-group["lr"] * scale)


class AdamW(_Plain, torch.optim.AdamW):
    """torch's own (Loshchilov & Hutter 2019)."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


def orthogonalize(stack: Tensor, *, iterations: int = 5) -> Tensor:
    """Matrices [n,a,b] → about U·Vᵀ of each, singular values within roughly 0.7–1.2 of one.

    Quintic Newton–Schulz with Jordan's coefficients; in bf16 where the machine multiplies it fast, which costs no
    accuracy that matters here (the result is only near-orthogonal by design).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = stack.shape[-2] > stack.shape[-1]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    x = x.to(torch.bfloat16 if fast_bf16(stack.device) else stack.dtype).contiguous()
    for _ in range(iterations):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    straight: Tensor = x.mT if tall else x
    return straight.to(stack.dtype)


def fast_bf16(device: torch.device) -> bool:
    """Whether bf16 matrix products are faster than fp32 here: CUDA, or a CPU with bf16 instructions."""
    if device.type == "cuda":
        return True
    known = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return device.type == "cpu" and any(supported is not None and supported() for supported in known)


# ── which parameter, which rule ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One parameter: its name on disk, its group ("encoders.text.layer_0", "heads.masked"), and what it is."""

    name: str
    group: str
    parameter: Parameter
    hidden: bool
    """A matrix of an encoder that is not an embedding table: Muon's."""


def named_parameters(model: Model) -> list[Named]:
    """Every parameter of the model once, in the model's order, under its group of `model.groups()`."""
    group_of = {id(p): group for group, members in model.groups().items() for p in members}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    named = []
    for name, parameter in model.named_parameters():
        group = group_of[id(parameter)]
        bottom = group.endswith(".embeddings") or id(parameter) in tables
        hidden = parameter.ndim == 2 and group.startswith("encoders.") and not bottom
        named.append(Named(name=name, group=group, parameter=parameter, hidden=hidden))
    return named


def multiplier(rates: Mapping[str, float], group: str) -> float:
    """The rate of the longest key that is `group` or a leading part of it (at a dot); 0 where none fits.

    "encoders.text.layer_1" does not fit "encoders.text.layer_10".
    """
    fitting = [key for key in rates if key in ("", group) or group.startswith(f"{key}.")]
    return rates[max(fitting, key=len)] if fitting else 0.0


def check_rates(phases: Sequence[Phase], groups: Iterable[str]) -> None:
    """Refuse a key that fits no group (a typing error would silently freeze or not freeze), and negative rates."""
    known = sorted(set(groups))
    for number, phase in enumerate(phases):
        for key, rate in phase.rates.items():
            if key and not any(group == key or group.startswith(f"{key}.") for group in known):
                raise UsageError(
                    f"phase {number}: the rate key {key!r} fits no parameter group",
                    remedy=f"write one of, or a leading part of: {', '.join(known)}",
                )
            if not (rate >= 0 and math.isfinite(rate)):
                raise UsageError(f"phase {number}: the rate of {key!r} is {rate}", remedy="write a number ≥ 0 (0 = frozen)")


class Updater:
    """The optimizers of one model, driven as one: rates by phase and schedule, state under stable names.

    Parameters with the same rule and the same multiplier in every phase share a group, so the vectorised updates stay
    large however finely the phases cut. Parameters whose rate is 0 in all phases get no state at all.
    """

    def __init__(self, config: OptimizerConfig, model: Model, phases: Sequence[Phase]) -> None:
        check_rates(phases, model.groups())
        self._config = config
        self._phases = [phase.rates for phase in phases]
        self._named = named_parameters(model)
        self._names: dict[Tensor, str] = {named.parameter: named.name for named in self._named}
        self.optimizers = list(self._build())
        self.trained: list[Parameter] = []
        """Parameters that the current phase moves."""
        self._phase: int | None = None

    def _build(self) -> Iterable[torch.optim.Optimizer]:
        buckets: dict[tuple[bool, bool, tuple[float, ...]], list[Parameter]] = {}
        for named in self._named:
            rates = tuple(multiplier(phase, named.group) for phase in self._phases)
            if any(rates):
                matrix = self._config.kind == "muon" and named.hidden
                buckets.setdefault((matrix, named.parameter.ndim > 1, rates), []).append(named.parameter)
        config = self._config
        for matrices in (False, True):
            groups = [
                {"params": members, "weight_decay": config.decay if decayed else 0.0, "multipliers": rates}
                for (matrix, decayed, rates), members in buckets.items()
                if matrix == matrices
            ]
            if not groups:
                continue
            if matrices:
                yield Muon(groups, lr=config.muon_rate, momentum=config.muon_momentum)
            elif config.kind == "adam-bert":
                yield AdamBert(groups, lr=config.rate, betas=config.betas, eps=config.epsilon)
            else:
                yield AdamW(groups, lr=config.rate, betas=config.betas, eps=config.epsilon, fused=True)

    def costs(self) -> dict[str, float]:
        """What one update of each trained parameter costs, about, in Adam updates of one number. Muon: five rounds of
        three products, 30·a flops a number of [a,b], a ≤ b; a processor does some 200 flops in Adam's time, which
        waits for memory."""
        return {
            self._names[p]: p.numel() * (1 + min(p.shape) * 30 / 200 if isinstance(optimizer, Muon) else 1)
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for p in group["params"]
        }

    def prepare(self, phase: int, factor: float) -> None:
        """Set the rates of the coming update; entering a phase also freezes and thaws."""
        if phase != self._phase:
            rates = self._phases[phase]
            for named in self._named:
                named.parameter.requires_grad_(multiplier(rates, named.group) > 0)
                named.parameter.grad = None
            self.trained = [named.parameter for named in self._named if named.parameter.requires_grad]
            self._phase = phase
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = optimizer.defaults["lr"] * factor * group["multipliers"][phase]

    def step(self) -> None:
        """Apply the gradients."""
        for optimizer in self.optimizers:
            optimizer.step()

    def clear(self) -> None:
        """Drop the gradients."""
        for parameter in self.trained:
            parameter.grad = None

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """The state as copies: "optimizer.<parameter>.<slot>"."""
        found: dict[str, np.ndarray[Any, Any]] = {}
        for optimizer in self.optimizers:
            for parameter, slots in optimizer.state.items():
                for slot, value in slots.items():
                    array = value.detach().to("cpu", copy=True).numpy()
                    found[f"optimizer.{self._names[parameter]}.{slot}"] = np.atleast_1d(array)
        return found

    def load(self, arrays: Arrays) -> None:
        """Restore what `arrays` gave, exactly; a name or shape that does not fit is an ArtefactError."""
        left = {name for name in arrays if name.startswith("optimizer.")}
        for optimizer in self.optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    prefix = f"optimizer.{self._names[parameter]}."
                    mine = {name for name in left if name.startswith(prefix) and "." not in name[len(prefix) :]}
                    for name in mine:
                        slot = name[len(prefix) :]
                        optimizer.state[parameter][slot] = _slot(name, slot, arrays[name], parameter)
                    left -= mine
        if left:
            raise ArtefactError(
                f"optimizer state for parameters this run does not train: {', '.join(sorted(left)[:3])}",
                remedy="resume with the configuration that the run was started with",
            )


def _slot(name: str, slot: str, array: np.ndarray[Any, Any], parameter: Parameter) -> Tensor:
    shape = torch.Size(()) if slot == "step" else parameter.shape
    if array.size != shape.numel():
        raise ArtefactError(f"expected shape {tuple(shape)}, found {array.shape}", place=name)
    return torch.from_numpy(array.copy()).reshape(shape).to(parameter.device)
