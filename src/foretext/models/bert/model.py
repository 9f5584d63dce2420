"""BERT, as a bill of materials over the shared layers.

R rows · T tokens a row · S sequences · D width
"""

from collections.abc import Mapping, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from foretext.layers.attention import Attention, attention_bias
from foretext.layers.embeddings import TokenEmbeddings
from foretext.layers.initial import initialise
from foretext.layers.ragged import filled, gather, scattered, tensor
from foretext.layers.transformer import Block, FeedForward
from foretext.models.bert.config import BertConfig
from foretext.types import TokenBatch, TokenVectors


@final
class Bert(nn.Module):
    """Token + position + segment vectors, `layers` Transformer blocks, a pooler (Devlin et al. 2019).

    `layers` of the answer: the embeddings, then each block's output; with norm = "pre" the last one has passed the
    final LayerNorm. `summary`: the pooled vector at each sequence's `batch.summary`, None where the batch has none.

    Where `batch.wanted` says which top vectors are read, the top block computes these alone: at 15 % masked a sixth of
    the products of four layers, a twentieth of twelve's, and no number that anything reads changes but in rounding.
    """

    widths: tuple[int, ...]
    sees: Literal["self", "left", "left|right", "both"] = "both"
    limit: int | None

    def __init__(self, config: BertConfig, vocabulary: int, seed: int = 0) -> None:
        super().__init__()
        c = config
        self.config = config
        self.widths = (c.width,) * (c.layers + 1)
        self.limit = c.positions
        self.embeddings = TokenEmbeddings(
            vocabulary,
            c.width,
            positions=c.positions,
            segments=c.segments,
            epsilon=c.norm_epsilon,
            dropout_rate=c.dropout,
        )
        blocks = [_block(c) for _ in range(c.layers)]
        self.layers = nn.ModuleList(blocks)
        self.final_norm = nn.LayerNorm(c.width, eps=c.norm_epsilon) if c.norm == "pre" else None
        self.pooler = nn.Linear(c.width, c.width) if c.pooler == "dense" else None
        initialise(self, c.initial_sd, seed, "bert")
        if c.initial_residual == "zero":
            for block in blocks:
                block.zero_outputs()

    @property
    def table(self) -> nn.Embedding:
        """The token embeddings, which a tied output layer shares; weight [V,D]."""
        return self.embeddings.table

    def forward(self, batch: TokenBatch) -> TokenVectors:
        x_RTD = self.embeddings(batch)
        bias_R1TT = attention_bias(batch, x_RTD)
        vectors = [x_RTD]
        for block in self.layers[:-1]:
            vectors.append(block(vectors[-1], bias_R1TT))
        wanted_M = None if batch.wanted is None else tensor(batch.wanted)
        top = self.layers[-1](vectors[-1], bias_R1TT, None if wanted_M is None else filled(wanted_M))
        if self.final_norm is not None:
            top = self.final_norm(top)
        vectors.append(top if wanted_M is None else scattered(top[: len(wanted_M)], wanted_M, *x_RTD.shape[:2]))
        return TokenVectors(layers=tuple(vectors), batch=batch, summary=self._summary(vectors[-1], batch))

    def groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """Parameters bottom to top; every one in exactly one group."""
        parts: dict[str, nn.Module | None] = {
            "embeddings": self.embeddings,
            **{f"layer_{number}": block for number, block in enumerate(self.layers)},
            "final_norm": self.final_norm,
            "pooler": self.pooler,
        }
        return {name: tuple(part.parameters()) for name, part in parts.items() if part is not None}

    def _summary(self, top_RTD: Tensor, batch: TokenBatch) -> Tensor | None:
        if batch.summary is None:
            return None
        at_SD = gather(top_RTD, tensor(batch.summary))
        return at_SD if self.pooler is None else torch.tanh(self.pooler(at_SD))


def _block(c: BertConfig) -> Block:
    return Block(
        Attention(c.width, c.heads, dropout_rate=c.attention_dropout),
        FeedForward(c.width, c.inner, c.activation),
        width=c.width,
        norm=c.norm,
        epsilon=c.norm_epsilon,
        dropout_rate=c.dropout,
    )


def build(config: BertConfig, vocabulary: int, seed: int = 0) -> Bert:
    """A BERT for ids below `vocabulary`; its parameters depend on (config, vocabulary, seed) alone."""
    return Bert(config, vocabulary, seed)
