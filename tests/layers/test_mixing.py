import pytest
import torch
from torch.nn import functional as F

from foretext.errors import UsageError
from foretext.layers.mixing import ScalarMix


def test_starts_as_the_mean_and_follows_the_equation() -> None:
    layers = [torch.randn(2, 3, 4, dtype=torch.float64) for _ in range(3)]
    mix = ScalarMix([4, 4, 4]).double()
    torch.testing.assert_close(mix(layers), sum(layers) / 3, atol=1e-12, rtol=0)
    with torch.no_grad():
        mix.s.copy_(torch.tensor([0.0, 1.0, -2.0]))
        mix.gamma.fill_(1.7)
    e = torch.tensor([0.0, 1.0, -2.0], dtype=torch.float64).exp()
    expected = 1.7 * sum(w * layer for w, layer in zip(e / e.sum(), layers, strict=True))
    torch.testing.assert_close(mix(layers), expected, atol=1e-12, rtol=0)


def test_with_norm_scale_does_not_matter() -> None:
    draw = torch.Generator().manual_seed(0)
    layers = [torch.randn(5, 4, dtype=torch.float64, generator=draw) for _ in range(2)]
    mix = ScalarMix([4, 4], norm=True).double()
    torch.testing.assert_close(mix([layers[0] * 100, layers[1]]), mix(layers), atol=1e-9, rtol=0)
    torch.testing.assert_close(mix([layers[0], layers[0]]), F.layer_norm(layers[0], (4,)), atol=1e-4, rtol=0)
    assert {name for name, _ in mix.named_parameters()} == {"s", "gamma"}


def test_unequal_widths_are_refused() -> None:
    with pytest.raises(UsageError, match="found 4, 8; choose one layer"):
        ScalarMix([4, 8])
