"""Self-attention under one rule: a token sees exactly the tokens that carry its sequence number.

Padded rows (one sequence a row) and packed rows (many) need no second rule and no second path.

R rows · T tokens a row · H heads · D width · d = D/H
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foretext.layers.ragged import gather, tensor
from foretext.types import TokenBatch

Sees = Literal["both", "left"]
Kernel = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]

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


def matmul_attention(q_RHTd: Tensor, k_RHTd: Tensor, v_RHTd: Tensor, bias_R1TT: Tensor, rate: float) -> Tensor:
    """softmax(q·kᵀ/√d + bias)·v by two batched products (Vaswani et al. 2017, equation 1); dropout on the weights."""
    scores_RHTT = torch.matmul(q_RHTd * (1.0 / math.sqrt(q_RHTd.shape[-1])), k_RHTd.transpose(-1, -2))
    weights_RHTT = torch.softmax(scores_RHTT + bias_R1TT, dim=-1)
    if rate:
        weights_RHTT = F.dropout(weights_RHTT, rate)
    return torch.matmul(weights_RHTT.to(v_RHTd.dtype), v_RHTd)


def fused_attention(q_RHTd: Tensor, k_RHTd: Tensor, v_RHTd: Tensor, bias_R1TT: Tensor, rate: float) -> Tensor:
    """The same by torch's fused kernel: never holds the weights in memory; the choice on GPUs and for long rows."""
    return F.scaled_dot_product_attention(q_RHTd, k_RHTd, v_RHTd, attn_mask=bias_R1TT, dropout_p=rate)


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
        q_RHTd, k_RHTd, v_RHTd = self.qkv(x_RTD).view(R, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        kernel = best_kernel(x_RTD.device.type, T)
        rate = self.dropout_rate if self.training else 0.0
        mixed_RHTd = kernel(q_RHTd, k_RHTd, v_RHTd, bias_R1TT, rate)
        mixed_RTD = mixed_RHTd.transpose(1, 2).reshape(R, T, D)
        out: Tensor = self.out(mixed_RTD if wanted_M is None else gather(mixed_RTD, wanted_M))
        return out
