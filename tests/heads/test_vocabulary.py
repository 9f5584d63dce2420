"""The masked head against a reference written from the paper, one place and one vocabulary entry at a time."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from foretext.heads.vocabulary import MaskedHead, masked_head
from foretext.types import Batch, Target, TokenBatch, TokenVectors

R, T, D, V = 2, 5, 6, 11


def vectors_of(top: torch.Tensor) -> dict[str, TokenVectors]:
    zeros = torch.zeros(R, T, dtype=torch.long)
    batch = TokenBatch(ids=zeros, sequence=zeros, position=zeros, bounds=torch.tensor([[0, 0, T], [1, 0, T]]))
    return {"text": TokenVectors(layers=(*[torch.full_like(top, torch.nan)] * 2, top), batch=batch)}


@pytest.fixture
def head() -> MaskedHead:
    torch.manual_seed(0)
    made = MaskedHead(nn.Embedding(V, D), D, initial_sd=0.5)
    with torch.no_grad():
        for parameter in (made.dense.bias, made.norm.weight, made.norm.bias, made.bias):
            parameter.copy_(torch.randn_like(parameter))
    return made.double()


def log_probabilities(head: MaskedHead, h: np.ndarray) -> list[float]:
    """Devlin et al. 2019, section 3.1 and appendix; the transform as in the released code."""
    p = {name: value.detach().numpy() for name, value in head.named_parameters()}
    z = []
    for row, bias in zip(p["dense.weight"], p["dense.bias"], strict=True):
        x = sum(w * value for w, value in zip(row, h, strict=True)) + bias
        z.append(x * 0.5 * (1 + math.erf(x / math.sqrt(2))))
    mean = sum(z) / D
    sd = math.sqrt(sum((x - mean) ** 2 for x in z) / D + 1e-12)
    z = [(x - mean) / sd * g + b for x, g, b in zip(z, p["norm.weight"], p["norm.bias"], strict=True)]
    scores = [sum(e * x for e, x in zip(p["table.weight"][v], z, strict=True)) + p["bias"][v] for v in range(V)]
    total = math.log(sum(map(math.exp, scores)))
    return [score - total for score in scores]


def test_loss_is_the_references_sum_over_counted_places(head: MaskedHead) -> None:
    top = torch.randn(R, T, D, dtype=torch.float64)
    at, gold, weight = [7, 0, 3, 0, 0], [2, 10, 0, 0, 0], [1.0, 1.0, 1.0, 0.0, 0.0]
    target = Target(at=torch.tensor(at), gold=torch.tensor(gold), count=3, weight=torch.tensor(weight))
    flat = top.flatten(0, 1).numpy()
    expected = sum(-log_probabilities(head, flat[a])[g] for a, g, w in zip(at, gold, weight, strict=True) if w)
    assert head.loss(vectors_of(top), target).item() == pytest.approx(expected, abs=1e-12)
    bare = Target(at=torch.tensor(at[:3]), gold=torch.tensor(gold[:3]), count=3)
    assert head.loss(vectors_of(top), bare).item() == pytest.approx(expected, abs=1e-12)
    predicted = head.predict(vectors_of(top), target)
    for m, a in enumerate(at):
        np.testing.assert_allclose(predicted[m].detach().numpy(), log_probabilities(head, flat[a]), atol=1e-12)
    everywhere = head.predict(vectors_of(top))[torch.tensor(at)]  # another shape, so another order of the same sums
    torch.testing.assert_close(everywhere, predicted, rtol=0.0, atol=1e-12)


def test_gradients_reach_the_marked_places_and_the_shared_table_only(head: MaskedHead) -> None:
    top = torch.randn(R, T, D, dtype=torch.float64, requires_grad=True)
    target = Target(
        at=torch.tensor([7, 1, 0]), gold=torch.tensor([2, 4, 0]), count=2, weight=torch.tensor([1.0, 1.0, 0.0])
    )
    head.loss(vectors_of(top), target).backward()
    assert top.grad is not None
    assert top.grad.flatten(0, 1).abs().sum(-1).nonzero().flatten().tolist() == [1, 7]
    assert head.table.weight.grad is not None
    assert head.bias.grad is not None
    assert head.bias.grad.sum().item() == pytest.approx(0.0, abs=1e-12)


def test_no_target_costs_nothing_and_is_not_nan(head: MaskedHead) -> None:
    top = torch.randn(R, T, D, dtype=torch.float64, requires_grad=True)
    empty = torch.zeros(0, dtype=torch.long)
    loss = head.loss(vectors_of(top), Target(at=empty, gold=empty, count=0))
    loss.backward()
    assert loss.item() == 0.0
    assert top.grad is not None
    assert not top.grad.any()


def test_measures_count_right_first_guesses(head: MaskedHead) -> None:
    top = torch.randn(R, T, D, dtype=torch.float64)
    at = torch.tensor([7, 0, 3])
    best = head.predict(vectors_of(top), Target(at=at, gold=at, count=3)).argmax(-1)
    gold = torch.where(torch.tensor([True, True, False]), best, (best + 1) % V)
    assert head.measures(vectors_of(top), Target(at=at, gold=gold, count=3))["correct"].item() == 2
    padded = Target(at=at, gold=gold, count=1, weight=torch.tensor([1.0, 0.0, 0.0]))
    assert head.measures(vectors_of(top), padded)["correct"].item() == 1


def test_a_unigram_bias_starts_the_loss_at_the_unigram_entropy() -> None:
    head = MaskedHead(nn.Embedding(V, D), D)
    with torch.no_grad():
        head.table.weight.zero_()
    frequencies = np.arange(1.0, V + 1) / np.arange(1.0, V + 1).sum()
    head.set_bias(np.log(frequencies))
    gold = torch.arange(V)
    predicted = head.predict(vectors_of(torch.randn(R, T, D)), Target(at=gold % 10, gold=gold, count=V))
    cross_entropy = -(torch.as_tensor(frequencies) * predicted[0].double()).sum().item()
    assert cross_entropy == pytest.approx(-(frequencies * np.log(frequencies)).sum(), abs=1e-6)
    with pytest.raises(AssertionError, match="V finite"):
        head.set_bias(np.full(V, -np.inf))


def test_the_table_is_the_encoders_own() -> None:
    class Encoder(nn.Module):
        widths, sees, limit = (4, 8), "both", None

        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(V, 4)

    encoder = Encoder()
    before = encoder.table.weight.clone()
    head = masked_head(encoder)  # type: ignore[arg-type]
    assert head.table.weight is encoder.table.weight
    assert torch.equal(encoder.table.weight, before)
    assert head.dense.weight.shape == (4, 8)
    assert head.bias.tolist() == [0.0] * V


def test_the_loss_reads_its_targets_places_unless_slots_repeat_one() -> None:
    head = MaskedHead(nn.Embedding(V, D), D, source="other")
    target = Target(at=torch.tensor([7, 3]), gold=torch.tensor([1, 2]), count=2)
    batch = Batch(views={}, targets={})
    places = head.places(batch, target)
    assert places is not None
    assert {name: at.tolist() for name, at in places.items()} == {"other": [7, 3]}
    assert head.places(batch, replace(target, weight=torch.tensor([1.0, 0.0]))) is None


def test_measures_count_neither_a_higher_nor_a_lower_entry(head: MaskedHead) -> None:
    top = torch.randn(R, T, D, dtype=torch.float64)
    at = torch.arange(6)
    best = head.predict(vectors_of(top), Target(at=at, gold=at, count=6)).argmax(-1)
    for off in (-1, 1):
        gold = torch.where(at < 4, best, (best + off) % V)
        weight = torch.tensor([1.0, 0.5, -1.0, 2.0, 1.0, 0.0])
        assert head.measures(vectors_of(top), Target(at=at, gold=gold, count=6))["correct"].item() == 4
        assert head.measures(vectors_of(top), Target(at=at, gold=gold, count=6, weight=weight))["correct"].item() == 3


def test_the_output_bias_starts_at_finite_logarithms_of_every_entry() -> None:
    head = MaskedHead(nn.Embedding(V, D), D)
    logs = np.linspace(-9, -1, V)
    head.set_bias(logs)
    np.testing.assert_allclose(head.bias.detach().numpy(), logs, atol=1e-6)
    assert head.bias.requires_grad
    for wrong in (logs[1:], np.where(np.arange(V) == 2, np.nan, logs)):
        with pytest.raises(AssertionError, match="V finite"):
            head.set_bias(wrong)


def test_a_new_head_takes_activation_and_epsilon_from_its_encoder() -> None:
    table = nn.Embedding(V, 300)
    plain = masked_head(SimpleNamespace(table=table, widths=(5, 7, 8)))  # type: ignore[arg-type]
    assert (plain.source, plain.norm.eps, plain.dense.weight.shape) == ("text", 1e-12, (300, 8))
    assert torch.equal(plain.dense.weight, MaskedHead(table, 8, seed=0, initial_sd=0.02).dense.weight)
    assert torch.equal(plain.dense.weight, MaskedHead(table, 8).dense.weight)
    assert MaskedHead(table, 8).norm.eps == 1e-12
    config = SimpleNamespace(norm_epsilon=0.5, activation="relu")
    told = masked_head(SimpleNamespace(table=table, widths=(8,), config=config), source="pair", seed=4)  # type: ignore[arg-type]
    assert (told.source, told.norm.eps) == ("pair", 0.5)
    assert not torch.equal(told.dense.weight, plain.dense.weight)
    assert torch.equal(told.activation(torch.tensor([-1.0, 2.0])), torch.tensor([0.0, 2.0]))
