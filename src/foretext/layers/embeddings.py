"""From ids to the first vectors.

R rows · T tokens a row · V vocabulary · P positions · D width
"""

import torch
from torch import Tensor, nn

from foretext.errors import UsageError
from foretext.layers.dropout import dropout
from foretext.layers.ragged import lengths, real, tensor
from foretext.types import TokenBatch


class TokenEmbeddings(nn.Module):
    """Token + position + segment vectors, LayerNorm, dropout (Devlin et al. 2019, Figure 2; modeling.py,
    `embedding_lookup` and `embedding_postprocessor`).

    Padding starts as zeros whatever its id, so nothing that stands in padding (not even NaN) reaches a kernel.
    """

    def __init__(
        self, vocabulary: int, width: int, *, positions: int, segments: int, epsilon: float, dropout_rate: float
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(positions, width)
        self.segment = nn.Embedding(segments, width) if segments else None
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = dropout(dropout_rate)

    def forward(self, batch: TokenBatch) -> Tensor:
        """[R,T,D]. A batch without segments is all segment 0. Raises UsageError for a sequence beyond P tokens."""
        ids_RT = tensor(batch.ids)
        if ids_RT.shape[1] > self.position.num_embeddings:
            self._check_lengths(batch)
        padding_RT1 = ~real(batch)[:, :, None]
        x_RTD = self.table(ids_RT) + self.position(tensor(batch.position).masked_fill(padding_RT1[:, :, 0], 0))
        if self.segment is not None:
            # A lookup in a table of two rows is slow to differentiate (all tokens meet in two rows); where no segments
            # are given one row is added to all.
            x_RTD = x_RTD + (self.segment.weight[0] if batch.segment is None else self.segment(tensor(batch.segment)))
        out: Tensor = self.dropout(self.norm(x_RTD.masked_fill(padding_RT1, 0.0)))
        return out

    def _check_lengths(self, batch: TokenBatch) -> None:
        longest = int(torch.max(lengths(batch))) if len(tensor(batch.bounds)) else 0
        if longest > self.position.num_embeddings:
            raise UsageError(
                f"a sequence has {longest} tokens, the model has positions for {self.position.num_embeddings}",
                remedy="cut it or read it in windows (fit = cut | window)",
            )
