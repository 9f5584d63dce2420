"""Whether a run will fit into memory, asked before it starts: what it needs by count, what the machine will give.

Bytes of a run = weights (4 a parameter) + gradients (4) + the optimizer's moments (Adam 8; Muon 4 for its matrices),
and then the larger of what one backward pass keeps and what a checkpoint copies.
"""

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretext.training.config import OptimizerConfig
from foretext.types import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes that a run will hold at its peak, beside what the process holds already."""

    weights: int
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    """What the backward pass of one micro-batch keeps."""
    copies: int = 0
    """What a checkpoint copies; never held together with activations."""

    @property
    def total(self) -> int:
        """All of it at the peak."""
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.copies)

    def __str__(self) -> str:
        """For messages: the sum and its parts."""
        parts = {"weights": self.weights, "gradients": self.gradients, "optimizer": self.optimizer}
        parts["activations" if self.activations >= self.copies else "a checkpoint's copy"] = max(self.activations, self.copies)
        told = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if size)
        return f"{gigabytes(self.total)} ({told})"


def gigabytes(size: int) -> str:
    """Bytes for messages, in GB, or in MB below a tenth of one."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def training_need(model: Any, optimizer: OptimizerConfig, *, rows: int, length: int, bf16: bool = False) -> Need:
    """Of training a torch module (its parameters may be on the meta device) on micro-batches of `rows` × `length`
    tokens, fp32 master weights."""
    count = sum(parameter.numel() for parameter in model.parameters())
    moments = 8 * count
    if optimizer.kind == "muon":
        from foretext.training.optimizers import named_parameters

        moments -= 4 * sum(named.parameter.numel() for named in named_parameters(model) if named.hidden)
    kept = rows * length * saved_numbers(model, length) * (2 if bf16 else 4)
    return Need(weights=4 * count, gradients=4 * count, optimizer=moments, activations=kept, copies=4 * count + moments)


def saved_numbers(module: Any, length: int) -> int:
    """About how many numbers a token a backward pass through `module` keeps: each dense layer's input and output (for a
    Transformer block 18·D; Korthikanti et al. 2022, section 4, count 17·D), and where attention is by plain products
    its weights, before and after dropout (their 2.5·H·T)."""
    from torch import nn

    from foretext.layers.attention import MATMUL_LIMIT, Attention

    dense = sum(part.in_features + part.out_features for part in module.modules() if isinstance(part, nn.Linear))
    attention = [part for part in module.modules() if isinstance(part, Attention)] if length <= MATMUL_LIMIT else []
    return dense + sum(part.heads * length * (3 if part.dropout_rate else 2) for part in attention)


def encoding_need(encoder: Encoder, *, tokens: int, length: int) -> Need:
    """Of reading `tokens` tokens at a time without a backward pass: the weights, and every layer's output (which a
    head may read)."""
    count = sum(parameter.numel() for group in encoder.groups().values() for parameter in group)
    return Need(weights=4 * count, activations=4 * tokens * (sum(encoder.widths) + 8 * max(encoder.widths) + 2 * length))


# ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────────


def available(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> tuple[int | None, str]:
    """Bytes that this process may still take, and what sets that bound; (None, "") where the system does not say."""
    bounds = [*_machine(proc), *_groups(proc, cgroup), *_limits(proc)]
    return min(bounds) if bounds else (None, "")


def _machine(proc: Path) -> Iterator[tuple[int, str]]:
    found = _fields(proc / "meminfo").get("MemAvailable:")
    if found is not None:
        yield found * 1024, "memory available"


def _groups(proc: Path, cgroup: Path) -> Iterator[tuple[int, str]]:
    """The limits of this process's control groups and of those above them, versions 2 and 1."""
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = cgroup / "memory" if controllers else cgroup
        limit, used = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        folder = root / path.lstrip("/")
        for where in (folder, *folder.parents):
            most, now = _number(where / limit), _number(where / used)
            if most is not None and now is not None and most < 1 << 60:  # version 1 writes "no limit" as a huge number
                stat = _fields(where / "memory.stat")
                # Pages of files that were read count as used, and go when memory is asked for.
                yield max(0, most - now + stat.get("inactive_file", 0)), f"left of the control group's {gigabytes(most)}"
            if where == root:
                break


def _limits(proc: Path) -> Iterator[tuple[int, str]]:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    held = _lines(proc / "self" / "statm")
    if soft != resource.RLIM_INFINITY and held:
        used = int(held[0].split()[0]) * resource.getpagesize()
        yield max(0, soft - used), f"left of the limit of {gigabytes(soft)} on addresses (ulimit -v)"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].isdigit() else None


def _fields(file: Path) -> dict[str, int]:
    parts = (line.split() for line in _lines(file))
    return {part[0]: int(part[1]) for part in parts if len(part) >= 2 and part[1].isdigit()}
