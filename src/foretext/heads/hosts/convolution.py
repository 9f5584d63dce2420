"""Convolutions over the words and their maximum over the text (Kim 2014, EMNLP D14-1181).

N tokens · S sequences · D width of a token · M maps of each kernel width
"""

from typing import final

import torch
from torch import Tensor, nn

from foretext.layers.initial import start
from foretext.layers.ragged import owners, pool


@final
class ConvolutionHost(nn.Module):
    """Kernels over 3, 4 and 5 tokens, 100 maps each, ReLU, maximum over time (section 3.1).

    All sequences stand on one line with gaps of zeros as wide as the widest kernel reaches: so a kernel sees one sequence
    at a time, and reaches over its ends, as in the released code (`sentence.py` pads by a kernel's width less one)."""

    def __init__(
        self, width: int, *, kernels: tuple[int, ...] = (3, 4, 5), maps: int = 100, seed: int = 0, name: str = "host"
    ) -> None:
        super().__init__()
        self.width, self.kernels, self.maps = maps * len(kernels), kernels, maps
        self.convolutions = nn.ModuleList(nn.Conv1d(width, maps, kernel) for kernel in kernels)
        start(self, seed, name)

    def forward(self, vectors_ND: Tensor, lengths_S: Tensor) -> Tensor:
        """[S,M·kernels]."""
        count, parts = len(lengths_S), []
        for kernel, convolution in zip(self.kernels, self.convolutions, strict=True):
            gap = kernel - 1
            owner_N = owners(lengths_S)
            # Each sequence is followed by a gap; one more stands in front of all.
            at_N = torch.arange(len(vectors_ND), device=owner_N.device) + gap * (owner_N + 1)
            line_LD = vectors_ND.new_zeros(len(vectors_ND) + gap * (count + 1), vectors_ND.shape[1])
            line_LD = line_LD.index_copy(0, at_N, vectors_ND)
            if not len(vectors_ND):
                parts.append(vectors_ND.new_zeros(count, self.maps))
                continue
            # A kernel that begins at place p sees p … p+gap: those of a sequence begin up to a gap before it.
            maps_PM = torch.relu(convolution(line_LD.T[None]))[0].T
            places_S = torch.where(lengths_S > 0, lengths_S + gap, 0)
            owner_P = owners(places_S)
            first_S = torch.cumsum(lengths_S + gap, 0) - lengths_S - gap
            before_S = torch.cumsum(places_S, 0) - places_S
            place_P = torch.arange(len(owner_P), device=owner_P.device) + (first_S - before_S)[owner_P]
            parts.append(pool(maps_PM.index_select(0, place_P), owner_P, count, "max"))
        return torch.cat(parts, dim=1)
