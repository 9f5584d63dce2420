"""Large softmaxes without large intermediates.

M places · P ≥ M places with what fills up · V vocabulary · D width
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HELD_BYTES = {"cpu": 16 << 20, "cuda": 256 << 20}
"""Scores held at once, by device type, in the dtype of the products: enough rows for full-speed products."""
SLICE_BYTES = {"cpu": 1 << 20, "cuda": 256 << 20}
"""fp32 scores that the passes between the products (softmax, its gradient) go over one after another: what stays in a
core's own cache (`docs/LOG.md`)."""


def logits(hidden_MD: Tensor, table_VD: Tensor, bias_V: Tensor) -> Tensor:
    """Scores of every vocabulary entry at every place, fp32 (or wider) [M,V]: h·Eᵀ + b."""
    return widened(torch.matmul(hidden_MD, table_VD.t())) + bias_V


def summed_cross_entropy(
    hidden_PD: Tensor, table_VD: Tensor, bias_V: Tensor, gold_M: Tensor, weight_M: Tensor | None = None
) -> Tensor:
    """Σ_m weight_m · −log softmax(h_m·Eᵀ + b)[gold_m], a scalar (nats), in slices of places.

    Because it is a sum, the gradient of the scores is known as soon as they are: each slice is turned into gradients
    of `hidden`, `table` and `bias` at once and dropped, so memory holds one slice of [slice,V] instead of [M,V] several
    times over. Products run in autocast's dtype where that is on; softmax and sums in fp32 at least. A place of weight
    0 adds exactly nothing, nor do rows of `hidden` beyond M, which only fill up (`ragged.filled`). First derivatives only.
    """
    result: Tensor = _SummedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_PD, table_VD, bias_V, gold_M.long(), weight_M, torch.is_grad_enabled()
    )
    return result


def widened(x: Tensor) -> Tensor:
    """`x` in fp32 at least; float64 stays what it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_PD: Tensor,
        table_VD: Tensor,
        bias_V: Tensor,
        gold_M: Tensor,
        weight_M: Tensor | None,
        differentiate: bool,
    ) -> Tensor:
        device = hidden_PD.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_PD.dtype
        with torch.autocast(device, enabled=False):
            loss, *gradients = _forward(
                hidden_PD.to(dtype), table_VD.to(dtype), bias_V, gold_M, weight_M, differentiate
            )
        ctx.dtypes = hidden_PD.dtype, table_VD.dtype, bias_V.dtype
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (
            (scale * gradient).to(dtype) if needed else None
            for gradient, dtype, needed in zip(ctx.saved_tensors, ctx.dtypes, ctx.needs_input_grad, strict=False)
        )
        return (*gradients, None, None, None)


def _forward(
    hidden_PD: Tensor, table_VD: Tensor, bias_V: Tensor, gold_M: Tensor, weight_M: Tensor | None, differentiate: bool
) -> tuple[Tensor, ...]:
    """The loss, and with `differentiate` its gradients by hidden, table and bias. P ≥ M: rows beyond M only fill up."""
    device = hidden_PD.device.type
    wide = torch.promote_types(hidden_PD.dtype, torch.float32)
    loss = torch.zeros((), dtype=wide, device=hidden_PD.device)
    d_hidden_PD = torch.empty_like(hidden_PD, dtype=wide)
    d_table_VD = table_VD.new_zeros((), dtype=wide).expand_as(table_VD)
    d_bias_V = torch.zeros_like(bias_V, dtype=wide)
    held = max(1, HELD_BYTES[device] // (hidden_PD.element_size() * len(bias_V)))
    for start in range(0, len(hidden_PD), held):
        h_hD = hidden_PD[start : start + held]
        scores_hV = torch.matmul(h_hD, table_VD.t())
        gold_h = gold_M[start : start + held]
        weight_h = None if weight_M is None else weight_M[start : start + held].to(wide)
        loss += _to_gradients(scores_hV, bias_V, gold_h, weight_h, d_bias_V if differentiate else None)
        if differentiate:
            d_hidden_PD[start : start + held] = torch.matmul(scores_hV, table_VD)
            product_VD = torch.matmul(scores_hV.t(), h_hD).to(wide)
            d_table_VD = product_VD if start == 0 else d_table_VD.add_(product_VD)
    return (loss, d_hidden_PD, d_table_VD, d_bias_V) if differentiate else (loss,)


def _to_gradients(
    scores_hV: Tensor, bias_V: Tensor, gold_m: Tensor, weight_m: Tensor | None, d_bias_V: Tensor | None
) -> Tensor:
    """The summed loss of h places, of which the first m have a `gold`. With `d_bias` their scores (without the bias)
    are replaced by the loss's gradients, which are also added to it."""
    loss = torch.zeros((), dtype=bias_V.dtype, device=bias_V.device)
    size = max(1, SLICE_BYTES[bias_V.device.type] // (4 * len(bias_V)))
    for start in range(0, len(gold_m), size):
        gold_s1 = gold_m[start : start + size, None]
        part_sV = scores_hV[start : start + len(gold_s1)]
        log_sV = torch.log_softmax(widened(part_sV) + bias_V, dim=-1)
        nats_s1 = -log_sV.gather(1, gold_s1)
        if weight_m is not None:
            weight_s1 = weight_m[start : start + size, None]
            nats_s1 = torch.where(weight_s1 > 0, nats_s1 * weight_s1, torch.zeros_like(nats_s1))
        loss += nats_s1.sum()
        if d_bias_V is None:
            continue
        d_sV = log_sV.exp_()
        d_sV.scatter_add_(1, gold_s1, -torch.ones_like(nats_s1))
        if weight_m is not None:
            d_sV.mul_(weight_s1)
        d_bias_V += d_sV.sum(0)
        part_sV.copy_(d_sV)
    if d_bias_V is not None:
        scores_hV[len(gold_m) :] = 0
    return loss
