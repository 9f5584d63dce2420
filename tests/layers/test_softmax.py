import pytest
import torch
from torch.nn import functional as F

from foretext.layers import softmax
from foretext.layers.softmax import logits, summed_cross_entropy


@pytest.fixture(params=[40, 10**9], ids=["a place a slice", "one slice"])
def _slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (softmax.HELD_BYTES, softmax.SLICE_BYTES):
        monkeypatch.setitem(table, "cpu", request.param)


def inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(*shape, dtype=dtype, requires_grad=True) for shape in ((7, 4), (5, 4), (5,))]


@pytest.mark.usefixtures("_slices")
def test_value_and_gradients_equal_torchs() -> None:
    hidden, table, bias = inputs()
    gold = torch.tensor([0, 4, 2, 2, 1, 0, 3], dtype=torch.int32)
    weight = torch.tensor([1.0, 0.5, 0.0, 1.0, 1.0, 0.0, 2.0])
    nats = F.cross_entropy(hidden @ table.T + bias, gold.long(), reduction="none")
    expected = (nats * weight).sum()
    found = summed_cross_entropy(hidden, table, bias, gold, weight)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    wanted = torch.autograd.grad(expected * 0.7, (hidden, table, bias))
    for got, want in zip(torch.autograd.grad(found * 0.7, (hidden, table, bias)), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


@pytest.mark.usefixtures("_slices")
def test_gradcheck() -> None:
    gold = torch.tensor([0, 4, 2, 2, 1, 0, 3])
    assert torch.autograd.gradcheck(lambda h, e, b: summed_cross_entropy(h, e, b, gold), inputs())


@pytest.mark.usefixtures("_slices")
def test_without_gradients_none_are_made() -> None:
    hidden, table, bias = inputs()
    gold = torch.tensor([0, 4, 2, 2, 1, 0, 3])
    with torch.no_grad():
        loss = summed_cross_entropy(hidden, table, bias, gold)
    assert loss.grad_fn is None
    torch.testing.assert_close(loss, F.cross_entropy(hidden @ table.T + bias, gold, reduction="sum"), atol=1e-12, rtol=0)


def test_scores_are_products_and_bias_in_fp32_at_least() -> None:
    hidden, table, bias = inputs()
    torch.testing.assert_close(logits(hidden, table, bias), torch.einsum("md,vd->mv", hidden, table) + bias[None])
    assert logits(hidden.bfloat16(), table.bfloat16(), bias.float()).dtype == torch.float32


def test_no_place_gives_zero_with_zero_gradients() -> None:
    hidden, table, bias = inputs()
    loss = summed_cross_entropy(hidden[:0], table, bias, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0.0
    assert table.grad is not None
    assert not table.grad.any()


def test_autocast_rounds_products_only() -> None:
    hidden, table, bias = inputs(torch.float32)
    gold = torch.tensor([0, 4, 2, 2, 1, 0, 3])
    exact = summed_cross_entropy(hidden, table, bias, gold)
    with torch.autocast("cpu", torch.bfloat16):
        rough = summed_cross_entropy(hidden, table, bias, gold)
    assert rough.dtype == torch.float32
    assert 0 < abs(rough.item() - exact.item()) < 0.02 * exact.item()
    for got, want in zip(
        torch.autograd.grad(rough, (hidden, table, bias)),
        torch.autograd.grad(exact, (hidden, table, bias)),
        strict=True,
    ):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want, atol=0.03, rtol=0.03)


def test_a_place_of_weight_zero_adds_nothing_even_where_its_loss_is_infinite() -> None:
    hidden, table, bias = inputs()
    bias = bias.detach().clone()
    bias[3] = -torch.inf
    gold = torch.tensor([0, 4, 2, 2, 1, 0, 3])
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    without = summed_cross_entropy(hidden[:6], table, bias, gold[:6])
    found = summed_cross_entropy(hidden, table, bias, gold, weight)
    torch.testing.assert_close(found, without, atol=1e-12, rtol=0)
    found.backward()
    assert hidden.grad is not None
    assert not hidden.grad[6].any()


@pytest.mark.parametrize(
    ("held", "sliced", "products", "slices"),
    [
        (1, 1, [1] * 7, [1] * 7),
        (80, 10**9, [2, 2, 2, 1], [2, 2, 2, 1]),
        (10**9, 40, [7], [2, 2, 2, 1]),
        (160, 60, [4, 3], [3, 1, 3]),
        (10**9, 10**9, [7], [7]),
    ],
)
def test_no_more_scores_are_held_or_passed_over_at_once_than_asked(
    monkeypatch: pytest.MonkeyPatch, held: int, sliced: int, products: list[int], slices: list[int]
) -> None:
    """Five entries: 40 bytes a place in the products' float64, 20 in the fp32 that slices are counted in; one place at least."""
    seen: dict[str, list[int]] = {"products": [], "slices": []}
    log_softmax, matmul = torch.log_softmax, torch.matmul
    monkeypatch.setitem(softmax.HELD_BYTES, "cpu", held)
    monkeypatch.setitem(softmax.SLICE_BYTES, "cpu", sliced)
    monkeypatch.setattr(torch, "log_softmax", lambda x, dim: seen["slices"].append(len(x)) or log_softmax(x, dim=dim))
    monkeypatch.setattr(torch, "matmul", lambda a, b: seen["products"].append(len(a)) or matmul(a, b))
    hidden, table, bias = inputs()
    with torch.no_grad():
        summed_cross_entropy(hidden, table, bias, torch.zeros(7, dtype=torch.long))
    assert seen == {"products": products, "slices": slices}


@pytest.mark.usefixtures("_slices")
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 0.5, 0.0, 2.0])])
def test_rows_beyond_the_gold_ones_add_nothing(weight: torch.Tensor | None) -> None:
    hidden, table, bias = inputs()
    gold = torch.tensor([0, 4, 2, 2])
    expected = summed_cross_entropy(hidden[:4], table, bias, gold, weight)
    found = summed_cross_entropy(hidden, table, bias, gold, weight)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    wanted = torch.autograd.grad(expected, (hidden, table, bias))
    for got, want in zip(torch.autograd.grad(found, (hidden, table, bias)), wanted, strict=True):
        torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


def test_only_the_gradients_asked_for_are_given_and_in_their_inputs_dtype() -> None:
    hidden, table, bias = inputs(torch.float32)
    gold = torch.tensor([0, 4, 2, 2, 1, 0, 3])
    wanted = torch.autograd.grad(summed_cross_entropy(hidden, table, bias, gold), (hidden, table, bias))
    low = hidden.detach().bfloat16().requires_grad_()
    fixed = table.detach().bfloat16()
    loss = summed_cross_entropy(low, fixed, bias, gold)
    assert loss.dtype == torch.float32  # sums are fp32 at least
    loss.backward()
    assert low.grad is not None and bias.grad is not None
    assert (low.grad.dtype, bias.grad.dtype, fixed.grad) == (torch.bfloat16, torch.float32, None)
    torch.testing.assert_close(low.grad.float(), wanted[0], atol=0.05, rtol=0.05)
    torch.testing.assert_close(bias.grad, wanted[2], atol=0.05, rtol=0.05)


def test_what_is_held_at_once_on_a_processor_and_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 MiB of scores, softmax over 1 MiB of them at a time; 256 MiB on a GPU, in one pass."""
    made, passes = [], []
    matmul, log_softmax = torch.matmul, torch.log_softmax

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        made.append((len(a), b.shape[-1]))
        return matmul(a, b)

    def softmaxed(x: torch.Tensor, dim: int) -> torch.Tensor:
        passes.append(len(x))
        return log_softmax(x, dim=dim)

    monkeypatch.setattr(torch, "matmul", product)
    monkeypatch.setattr(torch, "log_softmax", softmaxed)
    hidden, table, bias = torch.zeros(1100, 2), torch.zeros(8192, 2), torch.zeros(8192)
    with torch.no_grad():
        summed_cross_entropy(hidden, table, bias, torch.zeros(1100, dtype=torch.int64))
    assert made == [(512, 8192), (512, 8192), (76, 8192)]
    assert passes == [32] * 34 + [12]
    assert softmax.HELD_BYTES["cuda"] == softmax.SLICE_BYTES["cuda"] == 256 * 1024**2
