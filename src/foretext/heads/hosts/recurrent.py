"""A bidirectional LSTM with attention over its steps (Zhou et al. 2016, ACL P16-2034; hierarchical: Yang et al. 2016).

N tokens · S sequences · D width of a token · H width of one direction
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from foretext.layers.initial import start
from foretext.layers.ragged import owners, pool


@final
class RecurrentHost(nn.Module):
    """h = forward + backward (eq. 8), α = softmax(wᵀ tanh h) over the sequence, answer tanh(Σ α·h) (eq. 9 to 12); 100 wide
    each way (section 4.1). The forget gates begin at 1 (Jozefowicz et al. 2015)."""

    def __init__(self, width: int, *, hidden: int = 100, seed: int = 0, name: str = "host") -> None:
        super().__init__()
        self.width = hidden
        self.lstm = nn.LSTM(width, hidden, bidirectional=True)
        self.attention = nn.Linear(hidden, 1, bias=False)
        start(self, seed, name)
        with torch.no_grad():
            for path, parameter in self.lstm.named_parameters():
                if path.startswith("bias_ih"):
                    parameter[hidden : 2 * hidden] = 1.0

    def forward(self, vectors_ND: Tensor, lengths_S: Tensor) -> Tensor:
        """[S,H]."""
        if not len(vectors_ND):
            return vectors_ND.new_zeros(len(lengths_S), self.width)
        owner_N = owners(lengths_S)
        h_NH = self._steps(vectors_ND, lengths_S, owner_N)
        score_N1 = self.attention(torch.tanh(h_NH))
        highest_S1 = pool(score_N1, owner_N, len(lengths_S), "max").detach()
        weight_N1 = torch.exp(score_N1 - highest_S1[owner_N])
        whole_S1 = pool(weight_N1, owner_N, len(lengths_S), "sum")
        mixed_SH = pool(h_NH * weight_N1, owner_N, len(lengths_S), "sum") / whole_S1.clamp(min=1e-12)
        return torch.tanh(mixed_SH)

    def _steps(self, vectors_ND: Tensor, lengths_S: Tensor, owner_N: Tensor) -> Tensor:
        """Both directions' states, summed, in the order of the tokens. Packed by time, longest sequence first, straight from
        the tokens: one long text among short ones makes no padding."""
        before_S = torch.cumsum(lengths_S, 0) - lengths_S
        time_N = torch.arange(len(owner_N), device=owner_N.device) - before_S[owner_N]
        order_S = torch.argsort(lengths_S, descending=True, stable=True)
        rank_S = torch.empty_like(order_S)
        rank_S[order_S] = torch.arange(len(order_S), device=order_S.device)
        order_N = torch.argsort(time_N * len(lengths_S) + rank_S[owner_N])
        packed = PackedSequence(vectors_ND.index_select(0, order_N), torch.bincount(time_N).cpu())
        both_NG = self.lstm(packed)[0].data
        summed_NH = both_NG[:, : self.width] + both_NG[:, self.width :]
        return torch.empty_like(summed_NH).index_copy(0, order_N, summed_NH)
