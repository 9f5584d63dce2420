"""Self-attention under one rule: a token sees exactly the tokens that carry its sequence number.

Padded rows (one sequence a row) and packed rows (many) need no second rule and no second path.

R rows · T tokens a row · H heads · D width · d = D/H
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from foretext.layers.dropout import kept
from foretext.layers.ragged import gather, tensor
from foretext.types import TokenBatch

Sees = Literal["both", "left"]
Kernel = Callable[[Tensor, Tensor, float], Tensor]

MATMUL_LIMIT = 512
"""Longest row, in tokens, for which plain matrix products beat the fused kernel on a CPU (`docs/LOG.md`)."""


def visible(sequence_RT: Tensor, position_RT: Tensor, prefix_S: Tensor | None = None, sees: Sees = "both") -> Tensor:
    """Bool [R,T,T]: may token i (second axis) see token j (third axis)?

    "both": same sequence. "left": same sequence and j not after i, but the first `prefix_S[s]` tokens of sequence s
    are seen by all of it (0 = causal, all = both ways). Padding (−1) is seen by nobody; it looks at itself alone, so
    that no softmax runs over nothing.
    """
    seen_RTT = (sequence_RT[:, :, None] == sequence_RT[:, None, :]) & (sequence_RT >= 0)[:, :, None]
    if sees == "left":
        before_RTT = position_RT[:, None, :] <= position_RT[:, :, None]
        if prefix_S is not None:
            prefix_RT = prefix_S[sequence_RT.clamp(min=0).long()]
            before_RTT = before_RTT | (position_RT < prefix_RT)[:, None, :]
        seen_RTT = seen_RTT & before_RTT
    return seen_RTT | torch.eye(sequence_RT.shape[1], dtype=torch.bool, device=sequence_RT.device)


def attention_bias(batch: TokenBatch, like: Tensor, sees: Sees = "both") -> Tensor:
    """`visible` as what is added to the scores, [R,1,T,T]: 0 or −inf. Made once a batch and handed to every block.

    Its dtype is that of the scores: autocast's where that is on, else the dtype of `like`.
    """
    device = like.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else like.dtype
    prefix_S = None if batch.prefix is None else tensor(batch.prefix)
    seen_RTT = visible(tensor(batch.sequence), tensor(batch.position), prefix_S, sees)
    blank = torch.zeros((), dtype=dtype, device=like.device)
    return torch.where(seen_RTT, blank, blank - math.inf)[:, None]


def matmul_attention(qkv_RT3Hd: Tensor, bias_R1TT: Tensor, rate: float) -> Tensor:
    """softmax(q·kᵀ/√d + bias)·v by two batched products (Vaswani et al. 2017, equation 1); dropout on the weights.

    [R,T,D] from queries, keys and values [R,T,3,H,d]. First derivatives only.
    """
    if torch.compiler.is_compiling():  # the compiler makes its own gradient, and of one piece
        q_RHTd, k_RHTd, v_RHTd = qkv_RT3Hd.permute(2, 0, 3, 1, 4)
        scores_RHTT = torch.matmul(q_RHTd * (1.0 / math.sqrt(q_RHTd.shape[-1])), k_RHTd.transpose(-1, -2))
        weights_RHTT = F.dropout(torch.softmax(scores_RHTT + bias_R1TT, dim=-1), rate)
        return torch.matmul(weights_RHTT.to(v_RHTd.dtype), v_RHTd).transpose(1, 2).flatten(2)
    mixed_RTD: Tensor = _MatmulAttention.apply(qkv_RT3Hd, bias_R1TT, rate)  # type: ignore[no-untyped-call]
    return mixed_RTD


class _MatmulAttention(torch.autograd.Function):
    """Differentiated by hand: autograd would copy q, k, v and their gradients into three layouts one by one (a
    fortieth of a small model's step, `docs/LOG.md`). B = R·H."""

    @staticmethod
    def forward(ctx: Any, qkv_RT3Hd: Tensor, bias_R1TT: Tensor, rate: float) -> Tensor:
        R, T, _, H, d = qkv_RT3Hd.shape
        parts_3RHTd = qkv_RT3Hd.new_empty(3, R, H, T, d)
        _scale_first(qkv_RT3Hd.permute(2, 0, 3, 1, 4), parts_3RHTd)
        parts_3BTd = parts_3RHTd.view(3, R * H, T, d)
        q_BTd, k_BTd, v_BTd = parts_3BTd.unbind()
        scores_RHTT = torch.bmm(q_BTd, k_BTd.transpose(1, 2)).view(R, H, T, T)
        weights_BTT = torch.softmax(scores_RHTT + bias_R1TT, dim=-1).view(R * H, T, T)
        dropped_BTT, kept_BTT, ctx.scale = weights_BTT, None, 1.0
        if rate:
            kept_BTT, ctx.scale = kept(weights_BTT, rate)
            dropped_BTT = (weights_BTT * kept_BTT).mul_(ctx.scale)
        ctx.save_for_backward(parts_3BTd, weights_BTT, dropped_BTT, kept_BTT)
        return torch.bmm(dropped_BTT, v_BTd).view(R, H, T, d).transpose(1, 2).reshape(R, T, H * d)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_mixed_RTD: Tensor) -> tuple[Tensor, None, None]:
        parts_3BTd, weights_BTT, dropped_BTT, kept_BTT = ctx.saved_tensors
        q_BTd, k_BTd, v_BTd = parts_3BTd.unbind()
        R, (B, T, d) = len(d_mixed_RTD), v_BTd.shape
        d_mixed_BTd = d_mixed_RTD.reshape(R, T, -1, d).transpose(1, 2).reshape(B, T, d)
        d_parts_3BTd = torch.empty_like(parts_3BTd)
        d_q_BTd, d_k_BTd, d_v_BTd = d_parts_3BTd.unbind()
        torch.bmm(dropped_BTT.transpose(1, 2), d_mixed_BTd, out=d_v_BTd)
        d_weights_BTT = torch.bmm(d_mixed_BTd, v_BTd.transpose(1, 2))
        if kept_BTT is not None:
            d_weights_BTT.mul_(kept_BTT).mul_(ctx.scale)
        d_scores_BTT = torch._softmax_backward_data(d_weights_BTT, weights_BTT, -1, weights_BTT.dtype)
        torch.bmm(d_scores_BTT, k_BTd, out=d_q_BTd)
        torch.bmm(d_scores_BTT.transpose(1, 2), q_BTd, out=d_k_BTd)  # q is scaled already
        d_qkv_RT3Hd = d_mixed_RTD.new_empty(R, T, 3, B // R, d)
        _scale_first(d_parts_3BTd.view(3, R, -1, T, d), d_qkv_RT3Hd.permute(2, 0, 3, 1, 4))
        return d_qkv_RT3Hd, None, None


def _scale_first(from_3RHTd: Tensor, to_3RHTd: Tensor) -> None:
    """Copy into another layout, the queries (or their gradient) times 1/√d on the way."""
    torch.mul(from_3RHTd[0], 1.0 / math.sqrt(from_3RHTd.shape[-1]), out=to_3RHTd[0])
    to_3RHTd[1:].copy_(from_3RHTd[1:])


def fused_attention(qkv_RT3Hd: Tensor, bias_R1TT: Tensor, rate: float) -> Tensor:
    """The same by torch's fused kernel: never holds the weights in memory; the choice on GPUs and for long rows."""
    q_RHTd, k_RHTd, v_RHTd = qkv_RT3Hd.permute(2, 0, 3, 1, 4)
    mixed_RHTd = F.scaled_dot_product_attention(q_RHTd, k_RHTd, v_RHTd, attn_mask=bias_R1TT, dropout_p=rate)
    return mixed_RHTd.transpose(1, 2).flatten(2)


def best_kernel(device: str, tokens: int) -> Kernel:
    """The faster kernel, by measurement, for a device type ("cpu", "cuda") and a row length in tokens."""
    return matmul_attention if device == "cpu" and tokens <= MATMUL_LIMIT else fused_attention


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2); queries, keys and values by one product.

    Rows [0, D) of `qkv` make the queries, [D, 2D) the keys, [2D, 3D) the values; each D is H heads of d.
    """

    def __init__(self, width: int, heads: int, *, dropout_rate: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, f"{width} does not divide into {heads} heads"
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout_rate = dropout_rate

    def forward(self, x_RTD: Tensor, bias_R1TT: Tensor, wanted_M: Tensor | None = None) -> Tensor:
        """[R,T,D]; with `wanted_M` only the vectors at these flat places, [M,D]."""
        R, T, D = x_RTD.shape
        qkv_RT3Hd = self.qkv(x_RTD).view(R, T, 3, self.heads, D // self.heads)
        mixed_RTD = best_kernel(x_RTD.device.type, T)(qkv_RT3Hd, bias_R1TT, self.dropout_rate if self.training else 0.0)
        out: Tensor = self.out(mixed_RTD if wanted_M is None else gather(mixed_RTD, wanted_M))
        return out
