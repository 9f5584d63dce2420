"""Transformer blocks: attention and a two-layer network, each with its residual and LayerNorm.

R rows · T tokens a row · M wanted places · D width
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from foretext.layers.attention import Attention
from foretext.layers.dropout import dropout
from foretext.layers.ragged import gather

Activation = Literal["gelu", "gelu_tanh", "relu"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}
"""BERT's first release computes GELU by erf ("gelu"); later versions of modeling.py, and GPT, by tanh ("gelu_tanh")."""


class FeedForward(nn.Module):
    """Two dense layers, `inner` wide in between (Vaswani et al. 2017, equation 2, with BERT's activation)."""

    def __init__(self, width: int, inner: int, activation: Activation = "gelu") -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.activation = ACTIVATIONS[activation]
        self.out = nn.Linear(inner, width)

    def forward(self, x_RTD: Tensor) -> Tensor:
        out: Tensor = self.out(self.activation(self.inner(x_RTD)))
        return out


class Block(nn.Module):
    """One layer. "post": LayerNorm(x + part(x)) as published (Vaswani et al. 2017, section 3.1); "pre":
    x + part(LayerNorm(x)), which trains at higher rates and needs a last LayerNorm above the top block."""

    def __init__(
        self,
        attention: Attention,
        feed_forward: FeedForward,
        *,
        width: int,
        norm: Literal["post", "pre"],
        epsilon: float,
        dropout_rate: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width, eps=epsilon)
        self.feed_forward = feed_forward
        self.feed_forward_norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = dropout(dropout_rate)
        self.norm = norm

    def forward(self, x_RTD: Tensor, bias_R1TT: Tensor, wanted_M: Tensor | None = None) -> Tensor:
        """[R,T,D]; with `wanted_M` only the vectors at these flat places, [M,D]: all that follows the attention is then
        computed for them alone."""
        before = x_RTD if wanted_M is None else gather(x_RTD, wanted_M)
        if self.norm == "pre":
            x = before + self.dropout(self.attention(self.attention_norm(x_RTD), bias_R1TT, wanted_M))
            out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        else:
            x = self.attention_norm(before + self.dropout(self.attention(x_RTD, bias_R1TT, wanted_M)))
            out = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return out

    def zero_outputs(self) -> None:
        """Start both residual branches at zero, so the block begins as the identity (pre-norm only)."""
        for out in (self.attention.out, self.feed_forward.out):
            nn.init.zeros_(out.weight)
