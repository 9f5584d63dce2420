"""Starting values as a function of (seed, parameter name): the same whatever is built before, after or beside.

BERT draws every matrix from a normal distribution cut off at two standard deviations and starts every bias at 0
(google-research/bert, modeling.py, `create_initializer`; Devlin et al. 2019 give no figure, the config says 0.02).
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from foretext import draws

_UNSET: ContextVar[bool] = ContextVar("modules are made to be loaded", default=False)


@contextlib.contextmanager
def to_be_loaded() -> Iterator[None]:
    """Modules made inside get no starting values, for every parameter of theirs is loaded next: drawing those of a
    BERT-base takes seconds that nobody sees the fruit of."""
    token = _UNSET.set(True)
    try:
        yield
    finally:
        _UNSET.reset(token)


class _NoValues(TorchFunctionMode):
    """Makes torch's own starting values of nothing: on a device without memory, drawing them would import its compiler, two
    seconds of every run."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def to_be_counted() -> Iterator[None]:
    """Modules made inside have shapes and no memory."""
    with torch.device("meta"), _NoValues():
        yield


def truncated_normal_(parameter: Tensor, sd: float, seed: int, name: str) -> None:
    """Fill from N(0, sd²) cut off at ±2 sd, in place. As in TensorFlow, what remains has a deviation of 0.88 sd."""
    if parameter.is_meta:
        return  # a network that is only counted
    generator = torch.Generator(device=parameter.device).manual_seed(draws.number(seed, f"initial {name}"))
    with torch.no_grad():
        nn.init.trunc_normal_(parameter, 0.0, sd, -2.0 * sd, 2.0 * sd, generator=generator)


def initialise(module: nn.Module, sd: float, seed: int, name: str, shared: nn.Module | None = None) -> None:
    """Start `module` as BERT does: matrices from the truncated normal, biases 0, LayerNorm 1 and 0.

    `name` sets two modules of one model apart. Parameters that belong to `shared` (tied) are left alone.
    """
    if _UNSET.get():
        return
    tied = set(map(id, shared.parameters())) if shared is not None else set()
    for path, parameter in module.named_parameters():
        if id(parameter) in tied:
            continue
        if parameter.dim() >= 2:
            truncated_normal_(parameter, sd, seed, f"{name}.{path}")
        else:
            owner = module.get_submodule(path.rpartition(".")[0])
            is_gain = isinstance(owner, nn.LayerNorm) and path.endswith("weight")
            nn.init.constant_(parameter, 1.0 if is_gain else 0.0)


def start(module: nn.Module, seed: int, name: str) -> None:
    """Start a network of its own kind: matrices and kernels from the truncated normal of deviation 1/√(inputs of a unit),
    which keeps the size of what passes through (LeCun et al. 1998, section 4.6), biases 0."""
    if _UNSET.get():
        return
    for path, parameter in module.named_parameters():
        if parameter.dim() >= 2:
            truncated_normal_(parameter, parameter[0].numel() ** -0.5, seed, f"{name}.{path}")
        else:
            nn.init.zeros_(parameter)
