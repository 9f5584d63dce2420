"""fastText as an encoder: a token's vector is put together from its word's row and the rows of its n-grams.

R rows · T tokens a row · V vocabulary · K rows of n-grams · U distinct tokens of a batch · D width
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foretext.layers.initial import initialise
from foretext.layers.ragged import tensor
from foretext.models.word2vec.fasttext_config import FastTextConfig
from foretext.models.word2vec.subwords import Subwords, subwords
from foretext.types import Ints, TokenBatch, Tokenizer, TokenVectors


@final
class SubwordVectors(nn.Module):
    """One layer, no summary, no limit. `table` [V,D]: the words' own rows; `ngrams` [K,D]: those that words share.

    An id below V has the mean of its row and of its n-grams' rows; an unseen word's id (`types.Forms`) that of its
    n-grams' rows alone, rows that are not kept counting as zeros. Fine-tuning moves both tables: every row of every
    word that a batch has, and through shared n-grams other words with it.
    """

    widths: tuple[int, ...]
    sees: Literal["self", "left", "left|right", "both"] = "self"
    limit: int | None = None

    def __init__(self, spelt: Subwords, vocabulary: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.widths = (width,)
        self.table = nn.Embedding(vocabulary, width)
        self.ngrams = nn.Embedding(spelt.size, width)
        initialise(self, 1.0 / width, seed, "static")
        self._spelt = spelt

    def forward(self, batch: TokenBatch) -> TokenVectors:
        ids = tensor(batch.ids)
        found, place = torch.unique(ids, return_inverse=True)  # ascending: the vocabulary's first
        known = found[found < self.table.num_embeddings]
        rows, lengths = self._rows(known.cpu().numpy(), found[len(known) :].tolist(), batch)
        sums_UD = self._sums(rows, lengths)
        counts_U = torch.from_numpy(np.maximum(lengths + (np.arange(len(lengths)) < len(known)), 1)).to(sums_UD)
        unseen_RT = ids >= self.table.num_embeddings
        own_RTD = self.table(ids.masked_fill(unseen_RT, 0)).masked_fill(unseen_RT[:, :, None], 0.0)
        made_RTD = (own_RTD + sums_UD[place]) / counts_U[place][:, :, None]
        padding_RT1 = (tensor(batch.sequence) < 0)[:, :, None]
        return TokenVectors(layers=(made_RTD.masked_fill(padding_RT1, 0.0),), batch=batch)

    def _rows(self, known: Ints, unseen: Sequence[int], batch: TokenBatch) -> tuple[Ints, Ints]:
        """The n-gram rows of the distinct tokens, one after the other (−1: not kept), and how many each has [U]."""
        first = self._spelt.first
        starts, lengths = first[known], first[known + 1] - first[known]
        ends = np.cumsum(lengths)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
        more, rows = self._spelt.of([(batch.forms or {})[number] for number in unseen])
        return np.concatenate([self._spelt.rows[at], rows]), np.concatenate([lengths, np.diff(more)])

    def _sums(self, rows: Ints, lengths: Ints) -> Tensor:
        weight = self.ngrams.weight
        kept = rows >= 0
        offsets = np.cumsum(lengths) - lengths
        lost = np.concatenate([np.zeros(1, np.int64), np.cumsum(~kept)])
        return F.embedding_bag(
            torch.from_numpy(rows[kept].astype(np.int64)).to(weight.device), weight,
            torch.from_numpy(offsets - lost[offsets]).to(weight.device), mode="sum",
        )  # fmt: skip

    def groups(self) -> Mapping[str, Sequence[nn.Parameter]]:
        """One group: "embeddings", both tables."""
        return {"embeddings": tuple(self.parameters())}


def build(config: FastTextConfig, vocabulary: int, seed: int = 0, *, tokenizer: Tokenizer | None = None) -> Any:
    """Vectors as wide as `config.width` for the words of `tokenizer`, which has `vocabulary` of them."""
    assert tokenizer is not None, "n-grams are spelt with the vocabulary's letters"
    return SubwordVectors(subwords(tokenizer, config, vocabulary), vocabulary, config.width, seed)
