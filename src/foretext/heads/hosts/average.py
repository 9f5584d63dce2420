"""Deep averaging: the mean of the token vectors through a few dense layers (Iyyer et al. 2015, ACL P15-1162).

N tokens · S sequences · D width of a token · H width of the answer
"""

from typing import final

import torch
from torch import Tensor, nn

from foretext.layers.initial import start
from foretext.layers.ragged import owners, pool


@final
class AverageHost(nn.Module):
    """Three ReLU layers of 300 on the mean of a sequence's tokens (section 4: three layers, 300 wide).

    In training each token is left out of the mean with probability 0.3 (word dropout, section 3.1; best at 30 %)."""

    def __init__(
        self, width: int, *, hidden: int = 300, layers: int = 3, word_dropout: float = 0.3, seed: int = 0, name: str = "host"
    ) -> None:
        super().__init__()
        self.width = hidden
        self.words = nn.Dropout(word_dropout)
        self.dense = nn.ModuleList(nn.Linear(width if i == 0 else hidden, hidden) for i in range(layers))
        start(self, seed, name)

    def forward(self, vectors_ND: Tensor, lengths_S: Tensor) -> Tensor:
        """[S,H]."""
        owner_N = owners(lengths_S)
        kept_N1 = (self.words(vectors_ND.new_ones(len(vectors_ND), 1)) > 0).to(vectors_ND.dtype)
        sums_SD = pool(vectors_ND * kept_N1, owner_N, len(lengths_S), "sum")
        x_SH = sums_SD / pool(kept_N1, owner_N, len(lengths_S), "sum").clamp(min=1.0)
        for layer in self.dense:
            x_SH = torch.relu(layer(x_SH))
        return x_SH
