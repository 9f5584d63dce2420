import pytest
import torch
from torch import nn

from foretext.layers.dropout import Dropout, dropout, kept


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_share_that_is_dropped_is_the_rate(rate: float, dtype: torch.dtype) -> None:
    """Within five standard deviations of a binomial count; every bit of a draw is used and no place is favoured."""
    torch.manual_seed(0)
    stays, scale = kept(torch.empty(1000, 401, dtype=dtype), rate)
    assert stays.dtype == dtype and set(stays.unique().tolist()) == {0.0, 1.0}
    assert scale * (1 - rate) == pytest.approx(1, rel=1e-4)
    gone = (stays == 0).double()
    assert abs(float(gone.mean()) - rate) < 5 * (rate * (1 - rate) / gone.numel()) ** 0.5
    by_column = gone.mean(0)
    assert float((by_column - rate).abs().max()) < 6 * (rate * (1 - rate) / 1000) ** 0.5 + 0.002
    together = (gone[:, :-1] * gone[:, 1:]).mean()  # neighbours share a draw of 64 bits
    assert abs(float(together) - rate**2) < 6 * (rate**2 / gone.numel()) ** 0.5


def test_a_mean_stays_what_it_is_and_the_gradient_is_the_mask() -> None:
    torch.manual_seed(1)
    layer = Dropout(0.3)
    x = torch.full((300, 400), 2.0, requires_grad=True)
    found = layer(x)
    assert float(found.detach().mean()) == pytest.approx(2, abs=0.02)
    found.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, found.detach() / 2)
    assert torch.equal(layer.eval()(x), x)


def test_draws_follow_the_default_generator() -> None:
    layer, x = Dropout(0.5), torch.ones(64)
    torch.manual_seed(3)
    first = layer(x)
    second = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)


@pytest.mark.parametrize("rate", [1.0, 0.999999])
def test_a_rate_of_one_drops_all_as_torchs_does(rate: float) -> None:
    x = torch.ones(50, 50, requires_grad=True)
    found = Dropout(rate)(x)
    found.sum().backward()
    assert not found.any() and x.grad is not None and not x.grad.any()


def test_values_in_any_layout_and_number() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5).t()
    found = Dropout(0.5)(x)
    assert found.shape == x.shape and torch.equal(found[found != 0], 2 * x[found != 0])
    assert Dropout(0.5)(torch.zeros(0, 3)).shape == (0, 3)


def test_no_rate_costs_nothing() -> None:
    assert isinstance(dropout(0.0), nn.Identity)
    assert isinstance(dropout(0.1), nn.Dropout)
