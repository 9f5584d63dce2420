"""Dropout (Srivastava et al. 2014): what is left in training is scaled up, so that nothing changes in use."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHOICES = 1 << 16
"""Of so many equally likely 16-bit numbers, rate · CHOICES (rounded) drop a value."""


def kept(like: Tensor, rate: float) -> tuple[Tensor, float]:
    """1 where a value stays and 0 where it is dropped, in shape and dtype of `like`; and what scales up those that stay.

    Drawn from torch's default generator, 16 bits a value: on a CPU a third of the time of torch's Bernoulli draws,
    which took a quarter of a small model's fine-tuning (`docs/LOG.md`).
    """
    dropping = round(rate * CHOICES)
    count = like.numel()
    words = torch.empty(-(-count // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    numbers = words.view(torch.int16)[:count].view(like.shape)
    stays = torch.empty_like(like, memory_format=torch.contiguous_format)
    torch.ge(numbers, dropping - CHOICES // 2, out=stays)
    return stays, CHOICES / (CHOICES - dropping) if dropping < CHOICES else 0.0


class Dropout(nn.Dropout):
    """torch's module, quicker on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Some values 0, the others scaled up; in use all as they are."""
        if not self.training:
            return input
        if input.device.type != "cpu" or torch.compiler.is_compiling():  # the compiler fuses its own draws
            return F.dropout(input, self.p)
        stays, scale = kept(input, self.p)
        return input * stays * scale


def dropout(rate: float) -> nn.Module:
    """Dropout, or nothing at all where the rate is 0 (a pass over the vectors saved)."""
    return Dropout(rate) if rate else nn.Identity()
