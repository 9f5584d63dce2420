"""Check 1: every loss's gradient is the derivative of that loss."""

from typing import Any

import torch
from torch import nn
from torch.autograd import gradcheck
from torch.func import functional_call

from conformance.layout import lay, one_a_row
from conformance.rows import Row, TaskRow
from foretext.data.batches import to_torch
from foretext.layers import softmax
from foretext.training.model import Model
from foretext.types import Batch


class _Losses(nn.Module):
    """A Model's summed losses as a forward pass."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        return self.model.losses(batch)


def gradient(row: Row | TaskRow) -> None:
    """float64: torch's gradcheck of each head's loss by every parameter (1e-7 absolute, 1e-5 relative: what central
    differences of 1e-6 can tell), the hand-written softmax entry by entry. float32: 1e-5 of the largest entry."""
    if isinstance(row, Row) and row.own is not None:
        row.own.gradient(row)
        return
    if isinstance(row, Row):
        _softmax()
    examples = row.sequences()[:3]
    layout = one_a_row(examples)
    batch = to_torch(lay(examples, layout, max(len(one) for example in examples for one in example) + 1))
    assert batch.targets, "nothing is learned"
    losses = _Losses(row.model(torch.float64))
    names = [name for name, parameter in losses.named_parameters() if parameter.requires_grad]
    values = [parameter.detach().clone().requires_grad_() for name, parameter in losses.named_parameters() if name in names]
    wide = {}
    for head in batch.targets:

        def of(*given: torch.Tensor, head: str = head) -> torch.Tensor:
            found: torch.Tensor = functional_call(losses, dict(zip(names, given, strict=True)), (batch,))[head]
            return found

        assert gradcheck(of, values, eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)
        wide[head] = torch.autograd.grad(of(*values), values, allow_unused=True)
    _narrow(row.model(torch.float32), batch, names, wide)


def _narrow(model: Model, batch: Batch, names: list[str], wide: dict[str, Any]) -> None:
    parameters = dict(_Losses(model).named_parameters())
    for head, loss in model.losses(batch).items():
        found = torch.autograd.grad(loss, [parameters[name] for name in names], allow_unused=True, retain_graph=True)
        largest = max(float(g.abs().max()) for g in wide[head] if g is not None)
        assert largest > 1e-3, f"{head}: no gradient to compare"
        for name, a, b in zip(names, found, wide[head], strict=True):
            assert (a is None) == (b is None), name
            if a is not None:
                assert float((a - b).abs().max()) <= 1e-5 * max(largest, 1.0), f"{head}: float32 gradient of {name}"


def _softmax() -> None:
    """The fused output layer and cross-entropy by every entry of every input, in products of four places (the last of
    one and a row that only fills up) and slices of two, with and without weights (one of them 0)."""
    generator = torch.Generator().manual_seed(2)
    hidden, table, bias = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((5, 4), (7, 4), (7,)))
    gold, weight = torch.tensor([0, 3, 6, 3, 1]), torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5], dtype=torch.float64)
    filling = torch.full((1, 4), 3.0, dtype=torch.float64)
    kept = dict(softmax.HELD_BYTES), dict(softmax.SLICE_BYTES)
    softmax.HELD_BYTES["cpu"], softmax.SLICE_BYTES["cpu"] = 4 * 8 * len(bias), 2 * 4 * len(bias)
    try:
        for weights in (None, weight):
            inputs = [x.clone().requires_grad_() for x in (hidden, table, bias)]

            def of(h: torch.Tensor, *more: torch.Tensor, weights: torch.Tensor | None = weights) -> torch.Tensor:
                return softmax.summed_cross_entropy(torch.cat([h, filling]), *more, gold, weights)

            assert gradcheck(of, inputs, eps=1e-6, atol=1e-8, rtol=1e-6)
            nats = -torch.log_softmax(hidden @ table.T + bias, 1)[torch.arange(5), gold]
            plain = (nats * (1.0 if weights is None else weights)).sum()
            assert abs(float(of(*inputs).detach()) - float(plain)) <= 1e-12
    finally:
        softmax.HELD_BYTES.update(kept[0])
        softmax.SLICE_BYTES.update(kept[1])
