"""Static word vectors as an encoder: one table, shared by every family that only learns one (word2vec, GloVe, NNLM).

R rows · T tokens a row · V vocabulary · D width
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, final

from torch import nn

from foretext.layers.initial import initialise
from foretext.layers.ragged import tensor
from foretext.types import TokenBatch, TokenVectors


class _Width(Protocol):
    @property
    def width(self) -> int: ...


@final
class StaticVectors(nn.Module):
    """A token's vector is its row of `table` [V,D], whatever stands around it: one layer, no summary, no limit."""

    widths: tuple[int, ...]
    sees: Literal["self", "left", "left|right", "both"] = "self"
    limit: int | None = None

    def __init__(self, vocabulary: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.widths = (width,)
        self.table = nn.Embedding(vocabulary, width)
        # word2vec.c starts each value uniformly in ±0.5/width; any small start will do for a table trained elsewhere.
        initialise(self, 0.5 / width, seed, "static")

    def forward(self, batch: TokenBatch) -> TokenVectors:
        padding_RT1 = (tensor(batch.sequence) < 0)[:, :, None]
        return TokenVectors(layers=(self.table(tensor(batch.ids)).masked_fill(padding_RT1, 0.0),), batch=batch)

    def groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """One group: "embeddings"."""
        return {"embeddings": tuple(self.table.parameters())}


def build(config: _Width, vocabulary: int, seed: int = 0) -> StaticVectors:
    """Vectors as wide as `config.width` for ids below `vocabulary`."""
    return StaticVectors(vocabulary, config.width, seed)
