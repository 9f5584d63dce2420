"""Check 4: an update is the gradient of the whole batch however it is divided, clipped once, decayed where it should be,
and not made at all where it is not finite."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from conformance.rows import Row, TaskRow, cast_to
from conformance.saving import same_arrays
from foretext.errors import DivergedError
from foretext.training.model import Model
from foretext.training.run import NonFiniteStep


def still(model: Model) -> Model:
    """`model` without dropout, training or not."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout_rate"):
            module.dropout_rate = 0.0
    return model


def _used_gradient(stepper: Any, dtype: torch.dtype) -> tuple[dict[str, torch.Tensor], Any]:
    """What the optimizer is handed in the first update, by parameter; and the step's report."""
    cast_to(still(stepper.model), dtype)
    found: dict[str, torch.Tensor] = {}
    update = stepper._updater.step

    def noted() -> None:
        found.update({n: p.grad.clone() for n, p in stepper.model.named_parameters() if p.grad is not None})
        update()

    stepper._updater.step = noted
    return found, stepper.step()


def accumulation(row: Row | TaskRow) -> None:
    """One micro-batch, or as many as there are rows, of uneven lengths and uneven numbers of targets: the gradient
    handed to the optimizer and the loss reported agree to 1e-12 in float64, 1e-5 in float32."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        whole, report = _used_gradient(row.split(None), dtype)
        largest = max(float(g.abs().max()) for g in whole.values())
        assert largest > 1e-4
        for micro in (1, 3):
            stepper = row.split(micro)
            micros = stepper._batches.step(0)
            counts = {tuple(target.count for target in batch.targets.values()) for batch in micros}
            assert len(micros) > 1 and len(counts) > 1, f"micro-batches of one size ({len(micros)} of {counts}) prove little"
            parts, other = _used_gradient(stepper, dtype)
            assert parts.keys() == whole.keys()
            for name, gradient in parts.items():
                gap = float((gradient - whole[name]).abs().max()) / max(1.0, largest)
                assert gap <= tolerance, f"{len(micros)} micro-batches: {name} differs by {gap:.3g}, allowed {tolerance:g}"
            assert abs(other.loss - report.loss) <= tolerance * max(1.0, report.loss)
            assert (other.count, other.tokens) == (report.count, report.tokens)


def update(row: Row | TaskRow) -> None:
    """A step that is not finite changes nothing and says so; a longer gradient is scaled to the clip, once; decay
    touches matrices and neither biases nor norms."""
    _non_finite(row)
    if not (isinstance(row, Row) and row.own):
        _clipped(row)
        _decayed(row)


def _non_finite(row: Row | TaskRow) -> None:
    clean, stepper = row.stepper(4), row.stepper(4)
    for one in (clean, stepper):
        one.step()
    if isinstance(row, Row) and row.own:
        cure, before = row.own.poison(stepper), stepper.state()
        _refused(stepper, DivergedError)
        cure()
        # What stood before the NaN in the stream is updated; nothing that was a number has become none.
        for name, array in stepper.state().arrays.items():
            assert np.isfinite(array[np.isfinite(before.arrays[name])]).all(), f"the NaN reached {name}"
        return
    losses, before = stepper._losses, stepper.state()
    stepper._losses = lambda micro: {name: value * float("nan") for name, value in losses(micro).items()}
    _refused(stepper, NonFiniteStep)
    same_arrays(before.arrays, stepper.state().arrays)
    stepper._losses = losses
    assert stepper.step().loss.hex() == clean.step().loss.hex(), "the refused step left something behind"
    same_arrays(clean.state().arrays, stepper.state().arrays)


def _refused(stepper: Any, error: type[Exception]) -> None:
    done = stepper.done
    try:
        stepper.step()
    except error:
        assert stepper.done == done
        return
    raise AssertionError("a step that is not finite was made")


def _clipped(row: Row | TaskRow) -> None:
    raw, report = _used_gradient(row.split(None), torch.float64)
    norm = float(torch.linalg.vector_norm(torch.stack([g.norm() for g in raw.values()])))
    assert abs(report.norm - norm) <= 1e-12 * norm
    for clip, scale in ((norm / 3, 1 / 3), (norm * 3, 1.0)):
        stepper = row.split(None)
        stepper._optimizer = replace(stepper._optimizer, clip=clip)
        used, _ = _used_gradient(stepper, torch.float64)
        for name, gradient in used.items():
            gap = float((gradient - raw[name] * scale).abs().max())
            assert gap <= 1e-12 * max(1.0, norm), f"clip {clip:.3g} of norm {norm:.3g}: {name} is off by {gap:.3g}"


def _decayed(row: Row | TaskRow) -> None:
    stepper = row.stepper(4)
    assert stepper._optimizer.decay > 0
    norms = {id(p) for m in stepper.model.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    stepper._updater.prepare(0, 1.0)
    before = {}
    for name, parameter in stepper.model.named_parameters():
        with torch.no_grad():
            parameter.add_(0.5)
        parameter.grad = torch.zeros_like(parameter)
        before[name] = parameter.detach().clone()
    stepper._updater.step()
    for name, parameter in stepper.model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        free = id(parameter) in norms or parameter.ndim < 2
        assert moved != free, f"{name} is {'decayed' if moved else 'not decayed'}"
        assert free or float(parameter.detach().abs().sum()) < float(before[name].abs().sum())
