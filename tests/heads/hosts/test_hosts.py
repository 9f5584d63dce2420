"""Hosts against plain loops, a sequence at a time, straight from the papers' equations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foretext.errors import UsageError
from foretext.heads.classify import ClassifyHead, ClassifyHeadConfig, Shape
from foretext.heads.hosts import make_host

WIDTH = 6
LENGTHS = torch.tensor([4, 0, 1, 7, 2])


def world(name: Any) -> tuple[Any, Tensor, list[Tensor]]:
    """A stirred host in float64, its tokens, and the same cut into sequences."""
    host: Any = make_host(name, WIDTH, 3, "text").double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in host.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    vectors = torch.randn(int(LENGTHS.sum()), WIDTH, generator=generator, dtype=torch.float64)
    return host, vectors, list(vectors.split(LENGTHS.tolist()))


def averaged(host: Any, one: Tensor) -> Tensor:
    x = one.mean(0) if len(one) else torch.zeros(WIDTH, dtype=torch.float64)
    for layer in host.dense:
        x = (layer.weight @ x + layer.bias).clamp(min=0)
    return x


def convolved(host: Any, one: Tensor) -> Tensor:
    found = []
    for size, layer in zip(host.kernels, host.convolutions, strict=True):
        if not len(one):
            found.append(torch.zeros(100, dtype=torch.float64))
            continue
        gap = torch.zeros(size - 1, WIDTH, dtype=torch.float64)
        line = torch.cat([gap, one, gap])
        places = [
            sum(layer.weight[:, :, k] @ line[p + k] for k in range(size)) + layer.bias for p in range(len(line) - size + 1)
        ]
        found.append(torch.stack(places).clamp(min=0).amax(0))
    return torch.cat(found)


def attended(host: Any, one: Tensor) -> Tensor:
    if not len(one):
        return torch.zeros(host.width, dtype=torch.float64)
    plain = nn.LSTM(WIDTH, host.width, bidirectional=True).double()
    plain.load_state_dict(host.lstm.state_dict())
    both = plain(one[:, None])[0][:, 0]
    h = both[:, : host.width] + both[:, host.width :]
    share = torch.softmax(torch.tanh(h) @ host.attention.weight[0], 0)
    return torch.tanh(share @ h)


PLAIN = {"average": averaged, "cnn": convolved, "bilstm": attended}
WIDE = {"average": 300, "cnn": 300, "bilstm": 100}


@pytest.mark.parametrize("name", PLAIN)
def test_a_host_is_the_papers_network_sequence_by_sequence(name: str) -> None:
    host, vectors, parts = world(name)
    found = host(vectors, LENGTHS)
    assert found.shape == (len(LENGTHS), WIDE[name]) and host.width == WIDE[name]
    wanted = torch.stack([PLAIN[name](host, one) for one in parts])
    assert float((found - wanted).detach().abs().max()) <= 1e-12
    assert len(torch.unique(found.detach().round(decimals=6), dim=0)) == len(LENGTHS)


@pytest.mark.parametrize("name", PLAIN)
def test_texts_without_tokens_have_an_answer_and_no_gradient(name: str) -> None:
    host, vectors, parts = world(name)
    nothing = host(vectors[:0], torch.tensor([0, 0]))
    assert nothing.shape == (2, host.width) and bool(nothing.isfinite().all())
    assert torch.allclose(nothing[0], PLAIN[name](host, parts[1]))
    given = vectors.clone().requires_grad_()
    host(given, LENGTHS)[1].sum().backward()
    assert given.grad is None or not given.grad.any()


@pytest.mark.parametrize("name", ["cnn", "bilstm"])
def test_order_matters_but_to_the_average(name: str) -> None:
    for each, same in (("average", True), (name, False)):
        host, vectors, _ = world(each)
        turned = vectors[:4].flip(0)
        a, b = (host(part, torch.tensor([4])) for part in (vectors[:4], turned))
        assert torch.allclose(a, b, atol=1e-12) == same


def test_words_are_dropped_whole_in_training_only() -> None:
    host = world("average")[0].train()
    one = torch.ones(1000, WIDTH, dtype=torch.float64)
    kept: list[Tensor] = []
    host.words.register_forward_hook(lambda module, given, out: kept.append(out))
    assert torch.allclose(host(one, torch.tensor([1000])), host.eval()(one, torch.tensor([1000]))), "the mean is of what is kept"
    assert 0.65 < float((kept[0] > 0).double().mean()) < 0.75 and bool((kept[1] == 1).all())


def test_starting_values_depend_on_seed_and_source_alone() -> None:
    first, again, other, beside = (make_host("bilstm", WIDTH, seed, source) for seed, source in ((1, "a"), (1, "a"), (2, "a"), (1, "b")))
    states = [host.lstm.weight_ih_l0 for host in (first, again, other, beside)]  # type: ignore[union-attr]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2]) and not torch.equal(states[0], states[3])
    bias = first.lstm.bias_ih_l0.detach()  # type: ignore[union-attr, operator]
    assert bias[100:200].eq(1).all() and bias[:100].eq(0).all() and bias[200:].eq(0).all()


def test_a_host_refuses_a_pool_and_reads_every_source() -> None:
    shapes = {"a": Shape(widths=(WIDTH,)), "b": Shape(widths=(4, 4), summary=4)}
    head = ClassifyHead(shapes, 3, ClassifyHeadConfig(host="cnn", layers="mix"))
    assert head.decision.in_features == 600 and set(head.hosts) == {"a", "b"} and set(head.mixes) == {"b"}
    for pool in ("summary", "max", "concat"):
        with pytest.raises(UsageError, match="a host reads every token"):
            ClassifyHead({"b": shapes["b"]}, 3, ClassifyHeadConfig(host="cnn", pool=pool))  # type: ignore[arg-type]
