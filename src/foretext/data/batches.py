"""Rectangles from sequences, and batches from numpy to torch."""

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foretext.types import Batch, Target, TokenBatch

if TYPE_CHECKING:
    import torch


def to_torch(batch: Batch, device: "torch.device | str" = "cpu") -> Batch:
    """The same batch as torch tensors on `device` (integers as int64, no copy on the CPU)."""
    return Batch(
        views={name: view_to_torch(view, device) for name, view in batch.views.items()},
        targets={name: _target(target, device) for name, target in batch.targets.items()},
    )


def view_to_torch(view: TokenBatch, device: "torch.device | str" = "cpu") -> TokenBatch:
    """One view as torch tensors; its origin stays numpy on the CPU, where words are stitched."""
    names = [f.name for f in fields(TokenBatch) if f.name != "origin"]
    return replace(view, **{name: _tensor(getattr(view, name), device) for name in names})


def _target(target: Target, device: "torch.device | str") -> Target:
    names = ("at", "gold", "weight")
    return replace(target, **{name: _tensor(getattr(target, name), device) for name in names})


def _tensor(array: Any, device: "torch.device | str") -> Any:
    import torch

    if array is None or isinstance(array, torch.Tensor):
        return None if array is None else array.to(device)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(device, non_blocking=True)
