"""A learned weighted sum of layers (Peters et al. 2018, equation 1).

L layers · R rows · T tokens a row · D width
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from foretext.errors import UsageError


class ScalarMix(nn.Module):
    """γ · Σ softmax(s)_l · layer_l, with γ = 1 and every s = 0 at the start: the plain mean.

    With `norm`, each layer is first normalised over its width without learned gains (Peters et al. 2018, section 3.2,
    found this to help where layers differ in scale). Raises UsageError where widths differ: such layers have no sum.
    """

    def __init__(self, widths: Sequence[int], *, norm: bool = False, epsilon: float = 1e-12) -> None:
        super().__init__()
        if len(set(widths)) != 1:
            raise UsageError(
                f"a mix needs layers of one width, found {', '.join(map(str, widths))}",
                remedy="choose one layer by number",
            )
        self.norm = nn.LayerNorm(widths[0], eps=epsilon, elementwise_affine=False) if norm else nn.Identity()
        self.s = nn.Parameter(torch.zeros(len(widths)))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """[…,D] from L tensors [… ,D]."""
        assert len(layers) == len(self.s), f"a mix of {len(self.s)} layers was given {len(layers)}"
        share_L = torch.softmax(self.s, dim=0)
        mixed = sum(
            (share * self.norm(layer) for share, layer in zip(share_L, layers, strict=True)), self.s.new_zeros(())
        )
        out: Tensor = self.gamma * mixed
        return out
