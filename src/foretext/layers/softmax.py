"""Large softmaxes without large intermediates.

M places · V vocabulary · D width
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_BYTES = 8 << 20
"""fp32 logits held at once: small enough for a processor's last-level cache, large enough for full-speed products."""


def logits(hidden_MD: Tensor, table_VD: Tensor, bias_V: Tensor) -> Tensor:
    """Scores of every vocabulary entry at every place, fp32 (or wider) [M,V]: h·Eᵀ + b."""
    return widened(torch.matmul(hidden_MD, table_VD.t())) + bias_V


def summed_cross_entropy(
    hidden_MD: Tensor, table_VD: Tensor, bias_V: Tensor, gold_M: Tensor, weight_M: Tensor | None = None
) -> Tensor:
    """Σ_m weight_m · −log softmax(h_m·Eᵀ + b)[gold_m], a scalar (nats), in slices of places.

    Because it is a sum, the gradient of the scores is known as soon as they are: each slice is turned into gradients
    of `hidden`, `table` and `bias` at once and dropped, so memory holds one slice of [slice,V] instead of [M,V] several
    times over. Products run in autocast's dtype where that is on; softmax and sums in fp32 at least. A place of weight
    0 adds exactly nothing. First derivatives only.
    """
    result: Tensor = _SummedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_MD, table_VD, bias_V, gold_M.long(), weight_M, torch.is_grad_enabled()
    )
    return result


def widened(x: Tensor) -> Tensor:
    """`x` in fp32 at least; float64 stays what it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_MD: Tensor,
        table_VD: Tensor,
        bias_V: Tensor,
        gold_M: Tensor,
        weight_M: Tensor | None,
        differentiate: bool,
    ) -> Tensor:
        device = hidden_MD.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_MD.dtype
        with torch.autocast(device, enabled=False):
            loss, *gradients = _forward(
                hidden_MD.to(dtype), table_VD.to(dtype), bias_V, gold_M, weight_M, differentiate
            )
        ctx.dtypes = hidden_MD.dtype, table_VD.dtype, bias_V.dtype
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
    hidden_MD: Tensor, table_VD: Tensor, bias_V: Tensor, gold_M: Tensor, weight_M: Tensor | None, differentiate: bool
) -> tuple[Tensor, ...]:
    """The loss, and with `differentiate` its gradients by hidden, table and bias."""
    wide = torch.promote_types(hidden_MD.dtype, torch.float32)
    loss = torch.zeros((), dtype=wide, device=hidden_MD.device)
    d_hidden_MD = torch.empty_like(hidden_MD, dtype=wide)
    d_table_VD = torch.zeros_like(table_VD, dtype=wide)
    d_bias_V = torch.zeros_like(bias_V, dtype=wide)
    size = max(1, CHUNK_BYTES // (4 * len(bias_V)))
    for start in range(0, len(hidden_MD), size):
        h_mD, gold_m1 = hidden_MD[start : start + size], gold_M[start : start + size, None]
        scores_mV = torch.matmul(h_mD, table_VD.t()).to(wide).add_(bias_V)
        log_mV = torch.log_softmax(scores_mV, dim=-1)
        nats_m1 = -log_mV.gather(1, gold_m1)
        if weight_M is not None:
            weight_m1 = weight_M[start : start + size, None].to(wide)
            nats_m1 = torch.where(weight_m1 > 0, nats_m1 * weight_m1, torch.zeros_like(nats_m1))
        loss += nats_m1.sum()
        if not differentiate:
            continue
        d_mV = log_mV.exp_()
        d_mV.scatter_add_(1, gold_m1, -torch.ones_like(nats_m1))
        if weight_M is not None:
            d_mV.mul_(weight_m1)
        d_bias_V += d_mV.sum(0)
        narrow_mV = d_mV.to(h_mD.dtype)
        d_hidden_MD[start : start + size] = torch.matmul(narrow_mV, table_VD)
        d_table_VD += torch.matmul(narrow_mV.t(), h_mD)
    return (loss, d_hidden_MD, d_table_VD, d_bias_V) if differentiate else (loss,)
